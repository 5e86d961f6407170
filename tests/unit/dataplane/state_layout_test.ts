import { ok, strictEqual } from "node:assert/strict";
import { STATE_PAGES } from "../../../src/dataplane/state.ts";
import * as layout from "../../../src/dataplane/state_layout.ts";

const CACHE_LINE_BYTES = 64;

/** The parts of the state memory in their order: start and bytes. */
const PARTS: readonly (readonly [string, number, number])[] = [
  ["ports", layout.PORTS, layout.MAX_PORTS * layout.PORT_BYTES],
  ["rings", layout.RINGS, layout.MAX_PORTS * layout.RINGS_PER_PORT * layout.RING_BYTES],
  ["bridges", layout.BRIDGES, layout.MAX_BRIDGES * layout.BRIDGE_BYTES],
  ["FDB head", layout.FDB_MASK, 128],
  ["FDB", layout.FDB, layout.MAX_FDB_SETS * layout.FDB_WAYS * layout.FDB_ENTRY_BYTES],
  [
    "counters",
    layout.COUNTERS,
    layout.MAX_WORKERS * layout.MAX_PORTS * layout.COUNTER_BLOCK_BYTES,
  ],
  ["workers", layout.WORKERS, layout.MAX_WORKERS * layout.WORKER_BYTES],
];

Deno.test("State layout has parts that follow each other without overlap", () => {
  let end = layout.CLOCK_SECONDS + 4;
  for (const [name, start, bytes] of PARTS) {
    ok(start >= end, `${name} starts at ${start}, before ${end}`);
    end = start + bytes;
  }
  ok(end <= STATE_PAGES * 65536);
  ok(STATE_PAGES <= 65536, "a 32-bit memory ends at 4 GiB");
});

Deno.test("State layout keeps records of different writers in different cache lines", () => {
  for (const [name, start] of PARTS) strictEqual(start % CACHE_LINE_BYTES, 0, name);
  const records = [
    ...[layout.PORT_BYTES, layout.RING_BYTES, layout.BRIDGE_BYTES],
    ...[layout.COUNTER_BLOCK_BYTES, layout.WORKER_BYTES, layout.RING_NEXT_AVAIL],
    ...[layout.W_COMMAND, layout.W_POLLS, layout.W_TAKEN],
  ];
  for (const bytes of records) strictEqual(bytes % CACHE_LINE_BYTES, 0);
  // An address is looked for in two lines.
  strictEqual(layout.FDB_WAYS * layout.FDB_ENTRY_BYTES, 2 * CACHE_LINE_BYTES);
});

Deno.test("State layout has room for all regions, counters and lists of their records", () => {
  ok(layout.PORT_RX_PAIRS + layout.RINGS_PER_PORT / 2 <= layout.PORT_REGIONS);
  ok(layout.PORT_REGIONS + layout.MAX_REGIONS * layout.REGION_BYTES <= layout.PORT_BYTES);
  ok(layout.BRIDGE_PORTS + layout.MAX_PORTS * 2 <= layout.BRIDGE_BYTES);
  ok(layout.W_DESTINATIONS + layout.MAX_PORTS * 2 <= layout.W_MASKS);
  ok(layout.OVERREAD_BYTES >= layout.MAX_HEADER_BYTES + layout.SNAPSHOT_BYTES);
  for (const [name, place] of Object.entries(layout)) {
    if (!name.startsWith("C_")) continue;
    ok(place % 8 === 0 && place < layout.COUNTER_BLOCK_BYTES, name);
  }
});
