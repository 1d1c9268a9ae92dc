"""The study of ``ray_tune_before.py``. Run it again after a crash: it resumes."""

from raytune_yesno import tune
from raytune_yesno.space import Float


def train(config, checkpoint=None):
    epoch, loss = checkpoint or (0, 1.0)
    while True:
        epoch, loss = epoch + 1, loss * (1 - config["rate"]) + config["rate"] ** 2
        yield {"loss": loss}, (epoch, loss)


if __name__ == "__main__":
    space = {"rate": Float(1e-3, 1.0, log=True)}
    study = tune(
        train, space, metric="loss", trials=16, search="random", epochs=9, out="studies/after"
    )
    print(study.best.best_point)
