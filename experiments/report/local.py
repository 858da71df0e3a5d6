"""Finished local experiments, as DVC lists them."""

from typing import Any

from fdpo.core.errors import UserError
from fdpo.evaluation.metric_registry import HEADLINE_METRICS

PARAMS = ("study", "loss", "beta", "alpha", "lr", "seed")
METRICS = tuple(metric.headline for metric in HEADLINE_METRICS if metric.headline)
COMMITS = 10  # back from HEAD; DVC takes 0.3 seconds to read one


def experiments(reported: set[str]) -> list[dict[str, Any]]:
    """Params and headline numbers of finished experiments whose commits are not in `reported`.

    By name. Empty where there is no repository of DVC or of Git, as in an export of the files
    alone. Raises `UserError` where DVC cannot read the one there is.
    """
    import dvc.api  # 1.5 seconds, which no other part of the report needs
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.scm import SCMError

    try:
        listed = dvc.api.exp_show(num=COMMITS)
    except (NotDvcRepoError, SCMError):
        return []
    except DvcException as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"`dvc exp show` failed: {said}; correct that, then run `make report`"
        ) from None
    finished = {
        row["Experiment"]: row
        for row in listed
        if row["Experiment"] and row.get("reward") is not None
        if not any(commit.startswith(row["rev"]) for commit in reported)
    }
    return [
        {"experiment": name} | {key: row.get(key) for key in (*PARAMS, *METRICS)}
        for name, row in sorted(finished.items())
    ]
