/**
 * The loop of the hosts' thread, with interfaces that are arrays.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Epoll } from "../../../ffi/epoll.ts";
import { EventFd } from "../../../ffi/eventfd.ts";
import { HostLoop, type LoopHost, type LoopNic } from "../../../src/host/host_loop.ts";
import type { FrameHandler } from "../../../src/host/nic.ts";

/** An interface that gets what a test puts into it. */
class FakeNic implements LoopNic, Disposable {
  readonly call = EventFd.create();
  readonly incoming: Uint8Array[] = [];
  readonly sent: Uint8Array[] = [];
  polls = 0;
  flushes = 0;
  isArmed = false;
  hasRoom = true;
  /** Called when it is armed, as a frame may come in that moment. */
  onArm: () => void = () => {};

  get callFd(): number {
    return this.call.fd.number;
  }

  poll(handler: FrameHandler): number {
    this.polls++;
    const frames = this.incoming.splice(0);
    frames.forEach(handler);
    return frames.length;
  }

  send(frame: Uint8Array): boolean {
    if (this.hasRoom) this.sent.push(frame);
    return this.hasRoom;
  }

  flush(): void {
    this.flushes++;
  }

  arm(): boolean {
    this.isArmed = true;
    this.onArm();
    return this.incoming.length > 0;
  }

  disarm(): void {
    this.isArmed = false;
  }

  [Symbol.dispose](): void {
    this.call.close();
  }
}

/** Runs a loop over interfaces until `isDone`, which is asked once a turn. */
function run(nics: readonly FakeNic[], isDone: () => boolean): void {
  using epoll = Epoll.create();
  using doorbell = EventFd.create();
  const hosts = nics.map((nic): LoopHost => ({
    nic,
    station: { answer: (frame) => frame.length > 1 ? frame : null },
  }));
  const stop = { doorbellFd: doorbell.fd.number, isStopped: isDone };
  new HostLoop(hosts, epoll, stop, () => 0).run();
}

Deno.test("HostLoop sends what a host answers, and flushes once for a burst", () => {
  using nic = new FakeNic();
  nic.incoming.push(Uint8Array.of(1, 1), Uint8Array.of(2), Uint8Array.of(3, 3));
  let turns = 0;
  run([nic], () => turns++ === 3);
  deepStrictEqual(nic.sent, [Uint8Array.of(1, 1), Uint8Array.of(3, 3)]);
  strictEqual(nic.flushes, 1);
});

Deno.test("HostLoop loses an answer that finds no room", () => {
  using nic = new FakeNic();
  nic.hasRoom = false;
  nic.incoming.push(Uint8Array.of(1, 1));
  let turns = 0;
  run([nic], () => turns++ === 3);
  deepStrictEqual(nic.sent, []);
});

Deno.test("HostLoop leaves a silent host alone while another one is busy", () => {
  using silent = new FakeNic();
  using busy = new FakeNic();
  let turns = 0;
  run([silent, busy], () => {
    busy.incoming.push(Uint8Array.of(1, 1));
    return turns++ === 10_000;
  });
  ok(silent.isArmed);
  ok(silent.polls < 1000, `looked ${silent.polls} times`);
  strictEqual(busy.sent.length, 10_000);
});

Deno.test("HostLoop serves a host again that is called while another one is busy", () => {
  using called = new FakeNic();
  using busy = new FakeNic();
  let turns = 0;
  run([called, busy], () => {
    busy.incoming.push(Uint8Array.of(1, 1));
    if (turns === 5000) {
      ok(called.isArmed);
      called.incoming.push(Uint8Array.of(2, 2));
      called.call.signal();
    }
    return turns++ === 10_000 || called.sent.length > 0;
  });
  deepStrictEqual(called.sent, [Uint8Array.of(2, 2)]);
  strictEqual(called.isArmed, false);
  ok(turns < 5100, `took ${turns - 5000} turns`);
});

Deno.test("HostLoop serves a host that is called within a turn of one that is flooded", () => {
  using called = new FakeNic();
  using flooded = new FakeNic();
  let turns = 0;
  let calledAt = 0;
  run([called, flooded], () => {
    flooded.incoming.push(...Array.from({ length: 256 }, () => Uint8Array.of(1, 1)));
    turns++;
    if (calledAt === 0 && called.isArmed) {
      calledAt = turns;
      called.incoming.push(Uint8Array.of(2, 2));
      called.call.signal();
    }
    return turns === 10_000 || called.sent.length > 0;
  });
  deepStrictEqual(called.sent, [Uint8Array.of(2, 2)]);
  strictEqual(turns - calledAt, 1);
});

Deno.test("HostLoop sees a frame that comes while it asks for a call", () => {
  using nic = new FakeNic();
  nic.onArm = () => {
    nic.onArm = () => {};
    nic.incoming.push(Uint8Array.of(4, 4));
  };
  run([nic], () => nic.sent.length > 0);
  deepStrictEqual(nic.sent, [Uint8Array.of(4, 4)]);
});

Deno.test("HostLoop wakes from its sleep for a call", () => {
  using nic = new FakeNic();
  nic.onArm = () => {
    // The call comes while it sleeps: the descriptor is readable before it begins to wait.
    nic.onArm = () => {};
    nic.call.signal();
  };
  let sleeps = 0;
  run([nic], () => {
    if (nic.isArmed && sleeps++ === 0) nic.incoming.push(Uint8Array.of(5, 5));
    return nic.sent.length > 0;
  });
  deepStrictEqual(nic.sent, [Uint8Array.of(5, 5)]);
});
