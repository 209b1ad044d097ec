"""Append and page blobs by the command lines that people use: az and azcopy."""

import json
import uuid

from azure.storage.blob import BlobServiceClient, BlobType

from server import ENV, content
from test_tools import azcopy_environment, make_container, run


def test_az(server, workdir):
    environment = {"AZURE_STORAGE_CONNECTION_STRING": server.connection_string,
                   "AZURE_CONFIG_DIR": str(workdir / "azure"), "AZURE_CORE_COLLECT_TELEMETRY": "false"}

    def az(*args):
        done = run([ENV / "bin/az", "storage", "blob", *args, "--only-show-errors", "-o", "json"], environment)
        return json.loads(done.stdout) if done.stdout.strip() else done

    c = "az" + uuid.uuid4().hex
    container = BlobServiceClient.from_connection_string(server.connection_string).create_container(c)
    for kind, type_, data in (("page", BlobType.PageBlob, bytes(1 << 20) + content(1, 5 << 20)),
                              ("append", BlobType.AppendBlob, content(2, 9_000_001))):
        path = workdir / kind
        path.write_bytes(data)
        az("upload", "-c", c, "-f", path, "-n", kind, "--type", kind, "--no-progress")
        blob = container.get_blob_client(kind)
        assert blob.get_blob_properties().blob_type == type_ and blob.download_blob().readall() == data
        az("download", "-c", c, "-n", kind, "-f", workdir / "back", "--no-progress")
        assert (workdir / "back").read_bytes() == data
    az("upload", "-c", c, "-f", workdir / "append", "-n", "append", "--type", "append", "--no-progress")
    assert container.get_blob_client("append").download_blob().readall() == data + data
    assert {b["name"]: b["properties"]["blobType"] for b in az("list", "-c", c)} == \
        {"append": "AppendBlob", "page": "PageBlob"}


def test_azcopy(server, workdir):
    """A .vhd goes up as a page blob by itself; azcopy asks for the ranges when it downloads."""
    c = "azcopy" + uuid.uuid4().hex
    make_container(server, c)
    container = BlobServiceClient.from_connection_string(server.connection_string).get_container_client(c)
    sas = server.account_sas()
    for name, extra, type_, data in (
            ("disk.vhd", [], BlobType.PageBlob, bytes(4 << 20) + content(1, 5 << 20) + bytes(3 << 20)),
            ("log", ["--blob-type", "AppendBlob"], BlobType.AppendBlob, content(2, 20_000_001))):
        path, back, url = workdir / name, workdir / (name + ".back"), f"{server.url}/{c}/{name}?{sas}"
        path.write_bytes(data)
        for argv in (["copy", path, url, "--from-to", "LocalBlob", *extra],
                     ["copy", url, back, "--from-to", "BlobLocal"]):
            run([ENV / "bin/azcopy", *argv, "--skip-version-check"], azcopy_environment(server, workdir))
        assert container.get_blob_client(name).get_blob_properties().blob_type == type_
        assert back.read_bytes() == data
