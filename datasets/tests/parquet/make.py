"""Writes the Parquet files beside it, compressed as this workspace's own writer can't (pyarrow).

Run in this folder: python make.py
"""
import pyarrow as pa
import pyarrow.parquet as pq

events = pa.table({"src": [1, 2], "dst": [2, 1], "time": [3.0, 4.0], "w": [0.5, 1.5]})
for codec in ("lz4", "brotli"):
    pq.write_table(events, f"{codec}.parquet", compression=codec)
times = pa.array([1.6e9, 1.6e9 + 1], pa.float32())
pq.write_table(events.set_column(2, "time", times), "float32_times.parquet")
