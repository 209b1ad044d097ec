"""Parquet over az://: pyarrow's own Azure file system, and DuckDB and pyarrow through adlfs.

DuckDB's azure extension is not in its Python package and cannot be installed here from a registry, so
DuckDB reads through the file system that Python programs register with it (adlfs)."""

import random

import adlfs
import duckdb
import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.parquet as parquet
import pytest
from pyarrow.fs import AzureFileSystem, FileSelector, FileType


@pytest.fixture(scope="module")
def table():
    r = random.Random(1)
    n = 200000
    return pa.table({"id": range(n), "group": [i % 7 for i in range(n)],
                     "value": [r.random() for _ in range(n)], "text": [f"record {i}" for i in range(n)]})


@pytest.fixture
def fs(server):
    authority = f"127.0.0.1:{server.port}"
    return AzureFileSystem(server.account, account_key=server.key,
                           blob_storage_authority=authority,
                           blob_storage_scheme="http", dfs_storage_authority=authority,
                           dfs_storage_scheme="http")


def test_pyarrow(fs, container, table):
    path = container.container_name + "/dir/table.parquet"
    parquet.write_table(table, path, filesystem=fs, row_group_size=20000)
    assert container.get_blob_client("dir/table.parquet").get_blob_properties().size > 1 << 20
    assert parquet.read_table(path, filesystem=fs).equals(table)
    some = parquet.read_table(path, filesystem=fs, columns=["id"], filters=[("id", ">=", 199990)])
    assert some["id"].to_pylist() == list(range(199990, 200000))
    with fs.open_input_file(path) as f:
        assert f.size() == container.get_blob_client("dir/table.parquet").get_blob_properties().size
        assert f.read_at(4, 0) == b"PAR1" and f.read_at(4, f.size() - 4) == b"PAR1"


def test_pyarrow_dataset(fs, container, table):
    base = container.container_name + "/parts"
    for i in range(4):
        parquet.write_table(table.slice(i * 50000, 50000), f"{base}/part{i}.parquet", filesystem=fs)
    found = fs.get_file_info(FileSelector(container.container_name, recursive=True))
    assert sorted(f.base_name for f in found if f.type == FileType.File) == [f"part{i}.parquet" for i in range(4)]
    whole = dataset.dataset([f"{base}/part{i}.parquet" for i in range(4)], filesystem=fs)
    assert whole.count_rows() == 200000
    assert whole.to_table(filter=dataset.field("id") == 123456).num_rows == 1


def test_adlfs_and_duckdb(server, container, table):
    files = adlfs.AzureBlobFileSystem(connection_string=server.connection_string)
    base = container.container_name
    for i in range(2):
        with files.open(f"{base}/d/part{i}.parquet", "wb") as f:
            parquet.write_table(table.slice(i * 100000, 100000), f)
    assert sorted(files.ls(base + "/d")) == [f"{base}/d/part{i}.parquet" for i in range(2)]
    connection = duckdb.connect()
    connection.register_filesystem(files)
    got = connection.sql(f"SELECT \"group\", count(*), min(id), max(id) FROM "
                         f"read_parquet('abfs://{base}/d/*.parquet') GROUP BY 1 ORDER BY 1").fetchall()
    wanted = [(g, len(range(g, 200000, 7)), g, range(g, 200000, 7)[-1]) for g in range(7)]
    assert got == wanted
    files.rm(f"{base}/d", recursive=True)
    assert list(container.list_blobs()) == []
