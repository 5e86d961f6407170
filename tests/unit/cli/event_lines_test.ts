import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { eventLine, workerLine } from "../../../src/cli/event_lines.ts";
import type { PortEvent } from "../../../src/control/events.ts";
import {
  featureSet,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../../src/virtio/features.ts";

const port = "vm1";
const peer = { pid: 4711, name: "qemu-system-x86" };

Deno.test("eventLine names port, event and peer", () => {
  strictEqual(
    eventLine({ kind: "connected", port, peer }),
    "vm1  connected  qemu-system-x86 (pid 4711)",
  );
});

Deno.test("eventLine leaves out the number of a peer in another namespace", () => {
  const line = eventLine({ kind: "connected", port, peer: { pid: 0, name: "unknown" } });
  strictEqual(line, "vm1  connected  unknown");
});

Deno.test("eventLine says what to do about a second front-end", () => {
  strictEqual(
    eventLine({ kind: "refused", port, peer }),
    "vm1  refused  qemu-system-x86 (pid 4711): another front-end is connected; " +
      "stop it first, or give this one a port of its own",
  );
});

Deno.test("eventLine says why a front-end was disconnected, if it did not just hang up", () => {
  strictEqual(eventLine({ kind: "disconnected", port, reason: null }), "vm1  disconnected");
  strictEqual(
    eventLine({ kind: "disconnected", port, reason: "message 1 has version 2, want 1" }),
    "vm1  disconnected  message 1 has version 2, want 1",
  );
});

Deno.test("eventLine shows memory and features when a guest comes up", () => {
  const features = featureSet(VIRTIO_NET_F_MRG_RXBUF, VIRTIO_F_VERSION_1);
  const up = { kind: "up", port, features, memoryBytes: 3n * 2n ** 30n, regions: 2 } as const;
  strictEqual(eventLine(up), "vm1  up  3072 MiB in 2 regions  mrg_rxbuf version_1");
});

Deno.test("eventLine says region for one and regions for more", () => {
  const up = { kind: "up", port, features: 1n, memoryBytes: 2n ** 28n, regions: 1 } as const;
  strictEqual(eventLine(up), "vm1  up  256 MiB in 1 region  csum");
});

Deno.test("eventLine says how to start a guest whose memory is not shared", () => {
  strictEqual(
    eventLine({ kind: "no-memory", port }),
    "vm1  no memory  the guest's driver is ready, but its memory is not shared: start QEMU " +
      "with -object memory-backend-memfd,id=m,size=…,share=on -machine memory-backend=m " +
      "(labswitch qemu-args vm1 prints all it needs)",
  );
});

Deno.test("eventLine tells every other event", () => {
  const events: PortEvent[] = [
    { kind: "down", port },
    {
      kind: "request-refused",
      port,
      request: "SET_VRING_NUM",
      reason: "size 3 is no power of two",
    },
    { kind: "ring-fault", port, index: 1, text: "a descriptor chain has a loop" },
    { kind: "exhausted", port, reason: "Cannot accept: EMFILE (too many open files)" },
    { kind: "stale-socket", port, path: "/run/lab/vm1.sock" },
    {
      kind: "leased",
      port,
      mac: Uint8Array.of(82, 84, 0, 0, 0, 1),
      ip: Uint8Array.of(10, 0, 1, 100),
    },
    { kind: "exhausted-range", port },
  ];
  deepStrictEqual(events.map(eventLine), [
    "vm1  down  the guest stopped its queues",
    "vm1  refused SET_VRING_NUM  size 3 is no power of two",
    "vm1  ring 1 stopped  a descriptor chain has a loop; " +
    "it works again after the guest's driver restarts",
    "vm1  no room  a front-end waits: Cannot accept: EMFILE (too many open files)",
    "vm1  replaced a stale socket  /run/lab/vm1.sock",
    "vm1  leased 10.0.1.100  to 52:54:00:00:00:01",
    "vm1  no address left  a guest got none: widen range:, or shorten lease:",
  ]);
});

Deno.test("eventLine stays one line of text, whatever name the peer's process has", () => {
  const name = "x\nvm2  up\u001b[2J";
  const line = eventLine({ kind: "connected", port, peer: { pid: 1, name } });
  // deno-lint-ignore no-control-regex -- control characters are what must not be there
  strictEqual(/[\u0000-\u001f\u007f]/.test(line), false, JSON.stringify(line));
});

Deno.test("workerLine says that the ports go on and that it is to be reported", () => {
  strictEqual(
    workerLine({ kind: "worker-replaced", worker: 1, reason: "memory access out of bounds" }),
    "worker 1  replaced  memory access out of bounds; its ports go on. " +
      "This is a fault of labswitch: please report it",
  );
});

Deno.test("workerLine says that hosts go on without their leases and that it is to be reported", () => {
  strictEqual(
    workerLine({ kind: "hosts-replaced", reason: "it broke" }),
    "hosts  replaced  it broke; they go on without their leases. " +
      "This is a fault of labswitch: please report it",
  );
});
