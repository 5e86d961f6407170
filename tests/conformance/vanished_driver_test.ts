/**
 * A driver that vanishes in the middle of an update of its ring (G99): what it had not made available
 * is not there, and the next driver begins as if it had never been.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from "../../src/virtio/features.ts";
import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
} from "../../src/virtio/layouts.ts";
import { ConsoleProcess } from "../support/console_process.ts";
import { eventually } from "../support/eventually.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { type GuestSim, SwitchSim } from "../support/guest_sim.ts";
import { countMappings } from "../support/leaks.ts";
import { TestGuest } from "../support/test_guest.ts";
import { testAttack, type TestLab } from "../support/test_lab.ts";

const SIZE = 16;
const TRANSMIT = 1;
const FEATURES = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC);
const FRAME = makeFrame(BROADCAST, stationAddress(0));
const BYTES = 12 + FRAME.length;

/** What the driver had written when it vanished; `data` is a frame with its header. */
interface Moment {
  readonly name: string;
  readonly isPacked: boolean;
  readonly write: (guest: GuestSim, data: bigint) => void;
}

const MOMENTS: readonly Moment[] = [
  {
    name: "half a descriptor",
    isPacked: false,
    write: (guest, addr) => guest.raw(TRANSMIT).describe([{ addr, len: 0 }]),
  },
  {
    name: "the first descriptor of a chain",
    isPacked: false,
    write: (guest, addr) => {
      guest.raw(TRANSMIT).describe([{ addr, len: 12, flags: NEXT, next: 1 }]);
    },
  },
  {
    name: "a chain and half an available entry",
    isPacked: false,
    write: (guest, addr) => {
      const ring = guest.raw(TRANSMIT);
      ring.describe([{ addr, len: BYTES }], 1);
      // The entry was to be 0x0101 in a larger ring; one of its bytes is there.
      guest.memory.bytes[ring.places.avail + 4] = 1;
    },
  },
  {
    name: "a chain and its available entry",
    isPacked: false,
    write: (guest, addr) => {
      const ring = guest.raw(TRANSMIT);
      ring.describe([{ addr, len: BYTES }], 1);
      ring.offer(1);
      ring.availIndex -= 1;
    },
  },
  {
    name: "all but the marks of a descriptor",
    isPacked: true,
    write: (guest, addr) => {
      guest.rawPacked(TRANSMIT).offer([{ addr, len: BYTES, id: 1, marks: 0 }]);
    },
  },
  {
    name: "a chain without its first marks",
    isPacked: true,
    write: (guest, addr) => {
      const rest = { addr: addr + 12n, len: FRAME.length, id: 1 };
      guest.rawPacked(TRANSMIT).offer([{ addr, len: 12, flags: NEXT, marks: 0 }, rest]);
    },
  },
  {
    name: "a table and all but the marks of the descriptor that points to it",
    isPacked: true,
    write: (guest, addr) => {
      guest.rawPacked(TRANSMIT).offer([{ addr, len: 32, flags: INDIRECT, marks: 0 }]);
    },
  },
];

for (const { name, isPacked, write } of MOMENTS) {
  const format = isPacked ? "packed" : "split";
  Deno.test(`SwitchSim takes nothing from a driver that vanished after ${name} (${format}) (G99)`, async () => {
    const features = FEATURES | (isPacked ? featureSet(VIRTIO_F_RING_PACKED) : 0n);
    const sim = await SwitchSim.create([{ features, queueSize: SIZE, buffers: 0 }, {}]);
    const guest = sim.guests[0]!;
    const data = guest.allocate(BYTES);
    guest.memory.write(data + 12n, FRAME);
    sim.settle();
    write(guest, data);
    const before = guest.memory.bytes.slice();
    for (let i = 0; i < SIZE; i++) sim.settle();
    deepStrictEqual(guest.memory.bytes, before);
    deepStrictEqual([sim.counters(0).receivedFrames, sim.fault(0, TRANSMIT)], [0, 0]);
    checkNextDriver(sim, guest, data);
    ok(guest.isCanaryAlive);
  });
}

/** The device is reset and another driver sends: it writes over what the first one left. */
function checkNextDriver(sim: SwitchSim, guest: GuestSim, addr: bigint): void {
  guest.records.stopRing(TRANSMIT);
  const { desc, end } = guest.raw(TRANSMIT).places;
  guest.memory.bytes.fill(0, desc, end);
  guest.startRing(TRANSMIT);
  if (guest.isPacked) guest.rawPacked(TRANSMIT).offer([{ addr, len: BYTES }]);
  else {
    guest.raw(TRANSMIT).describe([{ addr, len: BYTES }]);
    guest.raw(TRANSMIT).offer(0);
  }
  sim.settle();
  deepStrictEqual(sim.guests[1]!.receive().map(({ frame }) => frame), [FRAME]);
}

// ── A whole front-end that is killed while its rings are polled ──────────────────────────────────

const FRONTEND = new URL("../support/sending_frontend.ts", import.meta.url);
/** The name of its memory, which nobody but the switch maps in this process. */
const FRONTEND_MEMFD = "labswitch-host";
const KILLS = 2;
const START_TIMEOUT_MS = 30_000;
/** What a shell says of a process that SIGKILL (9) ended. */
const KILLED = 128 + 9;

testAttack(
  "Switch frees the port of a front-end that is killed while it sends (G99)",
  async (lab) => {
    for (let kill = 0; kill < KILLS; kill++) {
      await using victim = new ConsoleProcess(Deno.execPath(), [
        ...["run", "--allow-all", "--quiet", FRONTEND.pathname, lab.path("a"), "9"],
      ]);
      await victim.awaitOutput(
        "frames",
        (output) => output.includes("sending") || undefined,
        START_TIMEOUT_MS,
      );
      const received = lab.report("a").counters.receivedFrames;
      await eventually("more frames", () => {
        return lab.report("a").counters.receivedFrames > received || null;
      });
      ok(countMappings(Deno.pid, FRONTEND_MEMFD) > 0);
      await beside(lab, async () => {
        strictEqual(await victim.awaitEnd(0), KILLED);
        await lab.idle("a");
      });
      strictEqual(countMappings(Deno.pid, FRONTEND_MEMFD), 0);
      strictEqual(await lab.endReason("a"), null);
    }
  },
);

/** Runs `body` while frames pass between the other ports, each of which arrives. */
async function beside(lab: TestLab, body: () => Promise<void>): Promise<void> {
  await using one = await TestGuest.attach(lab.path("b"));
  await using other = await TestGuest.attach(lab.path("c"));
  let isOver = false;
  const passing = (async () => {
    let passed = 0;
    for (; !isOver || passed === 0; passed++) {
      const frame = makeFrame(stationAddress(3), stationAddress(2), 200, passed);
      one.send(frame);
      deepStrictEqual(await other.receive(), frame);
    }
  })();
  try {
    await body();
  } finally {
    isOver = true;
    await passing;
  }
}
