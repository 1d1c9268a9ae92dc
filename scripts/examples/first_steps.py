# %% [markdown]
# # First steps with raytune-yesno
#
# Ten minutes: tune a function, read the study, extend it, train the recogniser and use it.
# Run it with `python scripts/examples/first_steps.py`, or open it as a notebook: VS Code, PyCharm
# and Jupyter with jupytext show each `# %%` as a cell.

# %% [markdown]
# ## 1. Tune a function
#
# It yields the metrics of every epoch, and the state that it needs to resume. Trials run side by
# side on Ray, and ASHA stops bad ones early. Everything is recorded in the folder `out`.

# %%
from pathlib import Path

from raytune_yesno import tune
from raytune_yesno.config import build_config
from raytune_yesno.report import write_report
from raytune_yesno.space import Choice, Float
from raytune_yesno.tasks.speech.load import load_corpus
from raytune_yesno.tasks.speech.recognizer import Recognizer
from raytune_yesno.tasks.speech.synthetic import synthesize
from raytune_yesno.training.loop import fit

TRIALS, EPOCHS, STUDY = 16, 6, Path("studies/first-steps")
SPACE = {"rate": Float(1e-3, 1.0, log=True), "shape": Choice("round", "square")}


def objective(config, checkpoint=None):
    epoch, loss = checkpoint or (0, 1.0)
    while True:
        floor = config["rate"] ** 2 + (config["shape"] == "square") / 10
        epoch, loss = epoch + 1, loss * (1 - config["rate"]) + floor
        yield {"loss": loss}, (epoch, loss)


study = tune(objective, SPACE, metric="loss", trials=TRIALS, epochs=9, out=STUDY)
print("best:", study.best.best_point, study.best.metrics[study.metric])

# %% [markdown]
# ## 2. Read the study: a table, and a page. ## 3. Extend it: the same call with more trials.

# %%
columns = ["trial", "status", study.metric, "config.rate", "config.shape"]
print(study.trials[columns].sort_values(study.metric).head())
print("page:", write_report([study], STUDY).html)
study = tune(objective, SPACE, metric="loss", trials=TRIALS + 4, epochs=9, out=STUDY)

# %% [markdown]
# ## 4. Train the recogniser in this process, on the built-in corpus, and let it listen

# %%
for record in fit(build_config({"epochs": EPOCHS}), load_corpus("synthetic")):
    print(record.metrics["epoch"], f"word error rate {record.metrics['valid_wer']:.1%}")
    record.save(Path("runs/first-steps/last"))  # one model; it is overwritten every epoch
waveform, _, labels = synthesize(4, seed=7)[0]
print("said:", *("yes" if label else "no" for label in labels))
print("heard:", *Recognizer.load("runs/first-steps/last").transcribe(waveform), sep="\n  ")
