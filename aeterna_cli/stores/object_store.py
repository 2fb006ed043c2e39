"""The repository's store, chosen by its address."""

from pathlib import Path

from aeterna_cli.errors import UsageError
from aeterna_cli.settings import RepositorySettings
from aeterna_cli.stores.base.objects import ObjectStore
from aeterna_cli.stores.directory_store import DirectoryStore
from aeterna_cli.stores.object_decorators import Retrying


def open_store(settings: RepositorySettings) -> ObjectStore:
    """The store at ``settings.url``: ``s3://bucket/prefix`` or a directory. Contacts nothing yet.

    ``UsageError('repository_url_missing' | 'repository_url_invalid')`` for any other address.
    """
    if not settings.url:
        raise UsageError(
            "repository_url_missing",
            "the profile names no backup repository",
            hint="repository.url is s3://bucket/prefix or a directory",
            next_steps=["aeterna-cli config init"],
        )
    if settings.url.startswith("s3://"):
        # boto3 takes 0.3 s to import; a directory does not need it
        from aeterna_cli.stores.s3_store import S3Store

        return Retrying(S3Store(settings))
    if "://" in settings.url:
        raise UsageError(
            "repository_url_invalid",
            f"not a repository address: {settings.url!r}",
            hint="repository.url is s3://bucket/prefix or a directory",
        )
    return DirectoryStore(Path(settings.url).expanduser().absolute())
