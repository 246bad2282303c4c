"""SIMULATORS: the simulators that params.yaml may name; and a user's own, which it names as `module:Class`.

`Causal` and `Padded` models are trained by `prorl.simulators.training`, or by RecBole's own trainer, and
scored by `InnerProductSimulator` and `PaddedSimulator`. An `Own` class trains, stores and scores by itself,
see `OwnSimulator`. A simulator of the library is an entry here and a group of settings in
`prorl.config.simulator`. A user's own is settings alone:

    simulators: [SASRec, Mine]
    simulator:
      Mine: {class: "my_package.my_module:MySimulator", settings: {width: 8}}
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from prorl.config.section import ConfigError, Settings, build
from prorl.config.simulator import BERT4RecSizes, GRU4RecSizes, LightSANsSizes, OwnClass, SASRecSizes
from prorl.config.simulator import Simulator as SimulatorSettings
from prorl.params import PARAMS_FILE, Params
from prorl.registries import imported
from prorl.simulators.padded_models import PaddedBERT4Rec, PaddedLightSANs
from prorl.simulators.protocol import OwnSimulator
from prorl.simulators.recbole_models import CausalGRU4Rec, CausalSASRec

OFFERED = ("fit", "save", "load", "score")  # what an own class must have; its instances also have `n_items`


@dataclass(frozen=True)
class Causal:
    """A causal model, built as `model(sizes, n_items, max_length)`, for `InnerProductSimulator`."""

    sizes: type[Settings]
    model: type[nn.Module]


@dataclass(frozen=True)
class Padded:
    """A model that reads every prefix anew, built the same way, for `PaddedSimulator`."""

    sizes: type[Settings]
    model: type[nn.Module]


@dataclass(frozen=True)
class Own:
    """A class that trains, stores, loads and scores by itself."""

    kind: type[OwnSimulator]


SIMULATORS: dict[str, Causal | Padded | Own] = {
    "SASRec": Causal(SASRecSizes, CausalSASRec),
    "GRU4Rec": Causal(GRU4RecSizes, CausalGRU4Rec),
    "BERT4Rec": Padded(BERT4RecSizes, PaddedBERT4Rec),
    "LightSANs": Padded(LightSANsSizes, PaddedLightSANs),
}


def simulator_entry(params: Params, dataset: str, name: str) -> Causal | Padded | Own:
    """The entry of `SIMULATORS` called `name`, or the user's own class of that name.

    Raises `ConfigError` where there is neither, or where the class is not to be found or lacks a method.
    """
    path = own_class(params, dataset, name)
    return SIMULATORS[name] if path is None else Own(found_class(path, name))


def own_class(params: Params, dataset: str, name: str) -> str | None:
    """`module:Class` of the user's own simulator `name`; None for one of `SIMULATORS`.

    Stages that load a simulator read nothing else of its settings: its folder, on which they depend, was made
    from the rest. Raises `ConfigError` where `name` is neither.
    """
    if name in SIMULATORS:
        return None
    values = params.values(SimulatorSettings, dataset).get(name)
    if values is None:
        allowed = f"{', '.join(SIMULATORS)}, or your own with `simulator.{name}: {{class: module:Class, ..}}`"
        raise ConfigError(f"{params.source}: simulators: got {name!r}, allowed: {allowed}")
    return build(OwnClass, values, f"simulator.{name}", params.source).class_


def library_model(name: str) -> type[nn.Module]:
    """The class of the library's model `name`. Raises `ConfigError` where `SIMULATORS` has no such model."""
    entry = SIMULATORS.get(name)
    if not isinstance(entry, Causal | Padded):
        models = [name for name, entry in SIMULATORS.items() if isinstance(entry, Causal | Padded)]
        raise ConfigError(f"simulator: got {name!r}, allowed: a model of the library, {', '.join(models)}")
    return entry.model


def own_settings(settings: SimulatorSettings, name: str) -> dict[str, Any]:
    """What params.yaml hands to the class of simulator `name`."""
    own = getattr(settings, name)
    return own.settings if isinstance(own, OwnClass) else own.model_dump()


def found_class(path: str, name: str) -> type[OwnSimulator]:
    """The class at `path`, `module:Class`, of simulator `name`; the working folder may hold the module.

    Raises `ConfigError` where it is not there or lacks one of `OFFERED`.
    """
    key = f"{PARAMS_FILE}: simulator.{name}.class"
    found = imported(path, key, "module:Class")
    if not isinstance(found, type):
        raise ConfigError(f"{key}: got {path!r}, a {type(found).__name__}, allowed: a class")
    if missing := [method for method in OFFERED if not callable(getattr(found, method, None))]:
        allowed = f"a class with {', '.join(OFFERED)}"
        raise ConfigError(f"{key}: got {path!r} without {', '.join(missing)}, allowed: {allowed}")
    return found
