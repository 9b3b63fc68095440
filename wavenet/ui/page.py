"""The parts of the page that all tabs share: the model, the clips, the turns, the settings.

Input: a folder of checkpoints. Output: a `Page`, which each tab receives. A tab adds the components
that depend on the model, and a function that computes their updates. Called by `studio_app`.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.checkpoint import Checkpoint
from wavenet.errors import ConditionError
from wavenet.ui.clip_history.clip_store import ClipStore
from wavenet.ui.server.checked_blocks import check_input
from wavenet.ui.turns import Turns

Settings = Mapping[str, Any]
# Computes updates of components by name, from a checkpoint and settings of the page by name.
Applier = Callable[[Checkpoint, Settings], dict[str, Any]]


def given_value(settings: Settings, name: str) -> Any:
    """Return the update of a component whose value stays unless a setting gives one."""
    return gr.update(value=settings[name]) if name in settings else gr.update()


@dataclass
class Page:
    """What the tabs share.

    Attributes:
        root: folder of checkpoint folders, to which the studio adds; see `list_in_studio`.
        clips: the clips of all visitors.
        turns: jobs that run a model take turns.
        token: names the visitor in `clips`; kept by the browser.
        saved: the settings of the visitor by name; kept by the browser.
        tabs: the tabs; an update of `selected` opens one.
        model: the name of the chosen checkpoint.
        about: HTML that describes it.
        conditions: the values of its conditions, a message of `condition_form`.
        history: HTML of the visitor's clips.
        dependents: components that depend on the model and the settings, by name.
        appliers: compute the updates of `dependents`.
        recordings: names of the audio inputs among `dependents`, by the action that puts a clip
            into them.
        load_events: run in this order after the page has opened: arguments of event listeners.
        kept: components whose values the browser keeps, by the name of the setting.
        model_lists: components that list all models, by name.
        list_updates: compute their updates.
    """

    root: Path
    clips: ClipStore
    turns: Turns
    token: gr.BrowserState
    saved: gr.BrowserState
    tabs: gr.Tabs
    model: gr.Dropdown
    about: gr.HTML
    conditions: gr.HTML
    history: gr.HTML
    dependents: dict[str, Any] = field(default_factory=dict)
    appliers: list[Applier] = field(default_factory=list)
    recordings: dict[str, str] = field(default_factory=dict)
    load_events: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)
    model_lists: dict[str, Any] = field(default_factory=dict)
    list_updates: dict[str, Callable[[], Any]] = field(default_factory=dict)

    def read_kept(self, saved: Any) -> dict[str, Any]:
        """Return the values of `kept` by name that the browser has kept and that are usable."""
        usable: dict[str, Any] = {}
        saved = saved if isinstance(saved, Mapping) else {}
        for name, component in self.kept.items():
            with suppress(ConditionError):
                check_input(component, saved.get(name))
                if saved.get(name) is not None:
                    usable[name] = saved[name]
        return usable

    @property
    def inputs(self) -> dict[str, Any]:
        """The visitor, the model and its conditions, by the names of parameters of callbacks."""
        return {"token": self.token, "name": self.model, "form": self.conditions}

    def keep_event(self) -> dict[str, Any]:
        """Return the arguments of an event listener that keeps the settings in the browser."""
        names = self.recordings.values()
        kept = {"model": self.model, "form": self.conditions, **self.kept}
        kept |= {name: self.dependents[name] for name in names}
        js = f"(...values) => pageEvents.keepSettings({json.dumps(list(kept))}, ...values)"
        return {"fn": None, "inputs": [self.saved, *kept.values()], "outputs": self.saved, "js": js}

    def add_dependents(self, components: Mapping[str, Any], applier: Applier) -> None:
        """Add components of a tab that depend on the model, and the function that updates them."""
        self.dependents |= components
        self.appliers.append(applier)

    def list_models_in(self, name: str, component: Any, update: Callable[[], Any]) -> None:
        """Add a component that lists all models, and the function that computes its update."""
        self.model_lists[name] = self.dependents[name] = component
        self.list_updates[name] = update
