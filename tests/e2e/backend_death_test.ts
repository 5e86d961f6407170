/**
 * A back-end that is killed in the middle of its work and comes back: the port to it goes on by itself.
 *
 *     a ─ up ─ (this process)   ─ socket ─   (another one) down ─ b
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { Labswitch } from "../support/labswitch.ts";
import { countDescriptors } from "../support/leaks.ts";
import { numbered } from "../support/steady_flow.ts";
import { TestGuest } from "../support/test_guest.ts";
import { TestLab } from "../support/test_lab.ts";

const KILLS = 3;
/** Frames that must have come through before a kill, and again behind it. */
const FRAMES = 200;
/** Where a frame holds its number. */
const NUMBER = 14;
const PATIENCE_MS = 30_000;

/** Numbered frames, as fast as they are taken; what is lost on the way is lost. */
class Sender {
  next = 0;
  readonly #guest: TestGuest;

  constructor(guest: TestGuest) {
    this.#guest = guest;
  }

  /** Sends what there is room for. */
  burst(): void {
    while (this.#guest.send(numbered(2, 1, this.next))) this.next++;
  }
}

/** Checks that numbers only grow: nothing twice, nothing out of order. */
class Receiver {
  last = -1;
  frames = 0;

  /** Takes everything that has come. */
  take(guest: TestGuest): void {
    for (let frame; (frame = guest.tryReceive()) !== null;) {
      const number = new DataView(frame.buffer, frame.byteOffset).getUint32(NUMBER);
      ok(number > this.last, `frame ${number} came behind frame ${this.last}`);
      this.last = number;
      this.frames++;
    }
  }
}

Deno.test("FrontendPort goes on when its back-end was killed in a burst and comes back (B20)", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-test-" });
  const [socket, far] = [join(folder, "down.sock"), join(folder, "b.sock")];
  const topology = [
    ...["version: 1", "ports:"],
    `  down: { type: vhost-user, socket: ${socket} }`,
    `  b: { type: vhost-user, socket: ${far} }`,
  ].join("\n");
  try {
    await using lab = await TestLab.open({
      ports: ["a"],
      more: { ports: [`up: { type: vhost-user-frontend, socket: ${socket} }`] },
    });
    const before = countDescriptors();
    {
      await using near = await TestGuest.attach(lab.path("a"));
      const [sender, receiver] = [new Sender(near), new Receiver()];
      for (let kill = 0; kill <= KILLS; kill++) {
        await using child = await Labswitch.start({ folder, topology });
        const guest = await TestGuest.attach(far);
        const from = receiver.frames;
        await eventually("frames behind the back-end", () => {
          sender.burst();
          receiver.take(guest);
          return receiver.frames >= from + FRAMES || null;
        }, PATIENCE_MS);
        sender.burst();
        await child.kill();
        // What had reached the guest before its switch died was delivered.
        receiver.take(guest);
        guest.vanish();
      }
      ok(receiver.last < sender.next);
      const { ringFaults, closedConnections } = lab.report("up").counters;
      strictEqual(ringFaults + closedConnections, 0);
      strictEqual(lab.events.filter(({ kind }) => kind === "disconnected").length, KILLS + 1);
    }
    for (const port of ["a", "up"]) await lab.idle(port);
    await eventually("closed descriptors", () => countDescriptors() <= before || null);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
