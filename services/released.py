"""Where released models are: beside each domain's code, in a capability's own folder, or where FACET_MODELS says."""

from __future__ import annotations

from services.declarations import SERVICES, declared_capabilities
from shared.capabilities.collection import Capabilities
from shared.fleet.artifacts import ReleasedFolders
from shared.settings import DOMAINS, Settings


def released_folders(settings: Settings, capabilities: Capabilities | None = None) -> ReleasedFolders:
    """Folders of released models by domain.

    Args:
        settings: whose `models` names another folder for all of them.
        capabilities: of the fleet; those that are declared by default.
    """
    declared = declared_capabilities() if capabilities is None else capabilities
    return {
        domain: tuple(
            dict.fromkeys(
                settings.models_folder(domain, beside=folder)
                for folder in (SERVICES / domain / "models", *(one.models for one in declared.of(domain) if one.models))
            )
        )
        for domain in DOMAINS
    }
