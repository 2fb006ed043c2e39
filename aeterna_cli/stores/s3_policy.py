"""The least an S3 identity needs, as a bucket policy document without a principal.

Source: Amazon S3, "Actions defined by Amazon S3".
"""

from typing import Any, Literal

S3Purpose = Literal["backup", "restore", "prune"]

_OBJECTS: dict[S3Purpose, list[str]] = {
    # leases and the catalogue are read before they are written
    "backup": ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
    "restore": ["s3:GetObject"],
    "prune": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
}


def s3_list_policy(bucket: str, prefix: str) -> dict[str, Any]:
    """What the data map and counting tenants need of one of the application's buckets: its list of
    names, no object."""
    return {"Version": "2012-10-17", "Statement": [_listing("ListObjects", bucket, prefix)]}


def s3_policy(bucket: str, prefix: str, purpose: S3Purpose) -> dict[str, Any]:
    """What ``purpose`` may do below ``prefix`` of ``bucket``, and nothing else.

    ``backup`` cannot delete an object; only ``prune`` can. Listing the bucket is limited to the
    prefix; without any prefix the whole bucket is the repository.
    """
    bucket_name = f"arn:aws:s3:::{bucket}"
    below = f"{prefix.strip('/')}/*" if prefix.strip("/") else "*"
    statements = [
        _listing("ListRepository", bucket, prefix),
        {
            "Sid": "UseObjects",
            "Effect": "Allow",
            "Action": _OBJECTS[purpose],
            "Resource": [f"{bucket_name}/{below}"],
        },
    ]
    if purpose != "restore":
        uploads: dict[str, Any] = {
            "Sid": "SeeUnfinishedUploads",
            "Effect": "Allow",
            "Action": ["s3:ListBucketMultipartUploads"],
            "Resource": [bucket_name],
        }
        statements.append(_limited(uploads, prefix))
    return {"Version": "2012-10-17", "Statement": statements}


def _listing(name: str, bucket: str, prefix: str) -> dict[str, Any]:
    resource = [f"arn:aws:s3:::{bucket}"]
    listing = {"Sid": name, "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": resource}
    return _limited(listing, prefix)


def _limited(statement: dict[str, Any], prefix: str) -> dict[str, Any]:
    below = prefix.strip("/")
    if below:
        statement["Condition"] = {"StringLike": {"s3:prefix": [f"{below}/*"]}}
    return statement
