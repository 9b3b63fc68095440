"""Copy the result of a comparison into checkpoints/compare, with cards and licence.

python scripts/ship_comparison.py runs/compare             # members of the budget small
python scripts/ship_comparison.py runs/compare --budget medium

Run `wavenet compare train` and `report` first, on the Free Spoken Digit Dataset.
"""

import argparse
import json
import shutil
from pathlib import Path

from wavenet.checkpoint import CARD, CONFIG, load_config
from wavenet.comparison.comparison_table import format_table
from wavenet.comparison.members import BY_NAME
from wavenet.weights_file import WEIGHTS

TARGET = Path(__file__).parents[1] / "checkpoints" / "compare"
METRICS = "metrics.json"
SAMPLE = "sample.wav"
MAX_BYTES = 6_000_000
FRONT_MATTER = """---
license: cc-by-sa-4.0
library_name: wavenet-studio
pipeline_tag: text-to-audio
datasets: [free-spoken-digit-dataset]
---
"""
CREDIT = """Trained on the Free Spoken Digit Dataset (Zohar Jackson and contributors, CC BY-SA 4.0):
recordings of the digits 0 to 9 by george, jackson, lucas, nicolas, theo and yweweler. The weights
have the same licence.
"""
COLLECTION = """# The comparison

One small model of every architecture, trained on the same recordings with equal numbers of
parameters and equal training times by `wavenet compare`. They are for comparison, not for good
sound: each was trained for a minute and a half. `metrics.json` has all measures.
[The comparison](../../docs/experiments/compare.md) explains the table.

"""


def main() -> None:
    """Copy the members of one budget, and the measures of all budgets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of the comparison")
    parser.add_argument("--budget", default="small")
    options = parser.parse_args()
    ship(options.source, options.budget, TARGET)


def ship(source: Path, budget: str, target: Path) -> None:
    """Write the folder of shipped members anew.

    Args:
        source: folder of `wavenet compare`, with metrics.json.
        budget: name of the budget whose members are shipped.
        target: folder to write.
    """
    result = json.loads((source / METRICS).read_text(encoding="utf-8"))
    rows = [row for row in result["rows"] if row["budget"] == budget]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for row in rows:
        entry = source / budget / row["member"]
        folder = target / row["member"]
        folder.mkdir()
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(entry / "run" / "checkpoint" / name, folder / name)
        (first,) = (entry / "clips").glob("*_seed0.wav")
        shutil.copyfile(first, folder / SAMPLE)
        (folder / CARD).write_text(member_card(row, folder), encoding="utf-8")
    table = "\n".join(format_table(rows))
    card = f"{FRONT_MATTER}{COLLECTION}{CREDIT}\n{table}\n"
    (target / CARD).write_text(card, encoding="utf-8")
    shutil.copyfile(source / METRICS, target / METRICS)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    assert size < MAX_BYTES, f"{size:,} bytes; at most {MAX_BYTES:,} may be shipped"
    print(f"{target}: {len(rows)} members, {size:,} bytes")


def member_card(row: dict[str, object], folder: Path) -> str:
    """Return the card of a member."""
    config = load_config(folder)
    labels = "".join(f" --set {label.name}={label.values[0]}" for label in config.model.labels)
    member = BY_NAME[str(row["member"])]
    return f"""{FRONT_MATTER}# {config.name}

A small model of the comparison of architectures: {member.title}, {row["parameters"]:,} parameters,
{row["bits_per_sample"]:.3f} bits per sample on the test recordings.

```
wavenet generate --checkpoint checkpoints/compare/{member.name}{labels} --out out.wav
```

{CREDIT}"""


if __name__ == "__main__":
    main()
