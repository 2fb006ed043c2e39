"""The key service, chosen by the profile."""

from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.settings import Environment, KeySettings
from aeterna_cli.stores.base.keys import KeyService


def open_key_service(settings: KeySettings, *, environment: Environment) -> KeyService:
    """The key service of this profile. Contacts nothing yet.

    ``RefusedError('local_key_in_production')`` for a key file in a production profile.
    """
    if settings.provider == "vault":
        from aeterna_cli.stores.vault import VaultKeyService

        return VaultKeyService(settings)
    if environment == "production":
        raise RefusedError(
            "local_key_in_production",
            "a production profile does not keep the backups' key in a file",
            hint="whoever reads the file reads every backup",
            next_steps=["set keys.provider to vault"],
        )
    if settings.key_file is None:
        raise UsageError(
            "key_file_not_set", "keys.provider is local-file, but keys.key_file is not set"
        )
    from aeterna_cli.stores.local_key import LocalFileKeyService

    return LocalFileKeyService(settings.key_file)
