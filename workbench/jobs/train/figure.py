"""training_loss.png: the run's curves as a picture. Knows only a View."""

from pathlib import Path

from workbench.view import View


def draw_loss(view: View, path: Path, title: str) -> None:
    """Training loss raw and smoothed, validation loss as points; written beside, then renamed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(view.loss.steps, view.loss.values, color="#9db8d9", linewidth=1, label="training")
    axes.plot(view.loss.steps, view.loss.smoothed(), color="#1f5fa8", linewidth=2, label="training, smoothed")
    if view.eval.steps:
        axes.plot(
            view.eval.steps, view.eval.values, "o-", color="#c2571a", markersize=4, linewidth=1, label="validation"
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    beside = path.with_name(f".{path.name}")
    figure.savefig(beside, format="png")
    beside.replace(path)
