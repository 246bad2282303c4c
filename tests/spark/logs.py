"""A small log in many files, and settings to prepare and mine it."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from prorl.config.mine import Mine
from prorl.config.prepare import Prepare, Spark
from prorl.datasets.tabular import TABULAR
from prorl.params import read_params

# A JVM that does little needs no second compiler; Spark's own code is generated for rows by the million.
QUICK = {
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


def settings(master="local[2]", conf=None, **changes):
    """Of `prepare`, for the log below."""
    spark = Spark(master=master, executor_memory="600m", partitions=4, conf={**QUICK, **(conf or {})})
    own = TABULAR.completed(read_params().section(Prepare, "ml-100k"))
    changes = {"min_user_interactions": 6, "min_item_interactions": 14, **changes}
    return own.replace(spark=spark, attributes=["attributes"], profile=["{title}"], **changes)


def mine_settings(**changes):
    return read_params().section(Mine, "ml-100k").replace(history_length=4, **changes)


def table(n=4000, seed=0):
    """Interactions with many equal times, repeats, items that nobody describes, and missing ids."""
    random = np.random.default_rng(seed)
    user = [f"u{int(place)}" for place in 350 * random.random(n) ** 1.3]
    item = [f"i{int(place)}" for place in 160 * random.random(n) ** 1.5]
    user[5] = item[9] = user[11] = item[11] = ""
    return pa.table({"user": user, "item": item, "timestamp": random.integers(0, 60, n)})


def write(raw, form="parquet", n_files=3):
    """The log as files whose names run against the order in which they were written."""
    folder = raw / f"interactions.{form}"
    folder.mkdir(parents=True)
    rows = table()
    size = -(-rows.num_rows // n_files)
    for number in range(n_files):
        part, path = rows.slice(number * size, size), folder / f"day-{n_files - number}.{form}"
        if form == "parquet":
            pq.write_table(part, path, row_group_size=500)
        else:
            pyarrow.csv.write_csv(part, path)
    (folder / "_SUCCESS").touch()
    described = range(4, 160)
    items = {
        "item": [f"i{place}" for place in described],
        "title": [f"Item {place}" for place in described],
        "attributes": [[f"a{place % 3}", f"b{place % 7}"] for place in described],
    }
    pq.write_table(pa.table(items), raw / "items.parquet")
    return folder
