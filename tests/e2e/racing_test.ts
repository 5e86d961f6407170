/**
 * Guests whose vCPUs rewrite rings under the switch, each kind of attack for a minute, all at once on
 * one switch (G55, G66, G67); and a million wake-ups that race (G12).
 *
 * The attackers are on a bridge of their own, with one who listens; two more talk on another bridge
 * and lose nothing. All ports share one poll Worker.
 *
 * @module
 */
import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_USO,
  VIRTIO_NET_F_MRG_RXBUF,
} from "../../src/virtio/features.ts";
import { Nic } from "../../src/host/nic.ts";
import { BareGuest } from "../support/bare_guest.ts";
import { BROADCAST, makeFrame, stationAddress } from "../support/frames.ts";
import { CANARY } from "../support/guest_memory.ts";
import { Labswitch } from "../support/labswitch.ts";
import { build } from "../support/packets.ts";
import { Race } from "../support/race.ts";
import { RacingFrontend } from "../support/racing_frontend.ts";
import { RACING_KINDS, type RacingKind } from "../support/racing_rings.ts";
import { countWakeUps } from "../support/wake_ups.ts";

const RACE_MS = 60_000;
/** Time between two new beginnings of every attacker's driver: rings that break stand still till then. */
const RESTART_MS = 250;
/** Frames on the way between the bystanders. */
const WINDOW = 32;
/** How long those may take at the end. */
const DRAIN_MS = 5000;
/** A checksum, which may be anything, has two bytes. */
const LONGER_THAN_A_CHECKSUM = 3;
/** What a guest without traffic keeps for itself. */
const SECRET = 0xa3;
/** Where a frame holds its number. */
const NUMBER = 14;

const FEATURES = featureSet(
  ...[VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CSUM],
  ...[VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN],
  VIRTIO_NET_F_HOST_USO,
);

/** One attack. */
interface Attack {
  readonly port: string;
  readonly kind: RacingKind;
  readonly isPacked: boolean;
}

const ATTACKS: readonly Attack[] = [false, true].flatMap((isPacked) =>
  (Object.keys(RACING_KINDS) as RacingKind[]).map((kind) => ({
    ...{ port: `${isPacked ? "packed" : "split"}-${kind}`, kind, isPacked },
  }))
);
const [LISTENER, KEEPER, ONE, OTHER] = ["listener", "keeper", "one", "other"];
const TOPOLOGY = [
  "version: 1",
  "bridges: { br1: {} }",
  "threads: { poll: busy }",
  "ports:",
  ...[...ATTACKS.map(({ port }) => port), LISTENER, KEEPER].map((port) => {
    return `  ${port}: { type: vhost-user, socket: ${port}.sock }`;
  }),
  ...[ONE, OTHER].map((port) => {
    return `  ${port}: { type: vhost-user, socket: ${port}.sock, bridge: br1 }`;
  }),
].join("\n");

Deno.test("run contains vCPUs that flip every field of rings and headers for a minute (G55, G66, G67)", async () => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-racing-" });
  try {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    await race(lab);
    for (const { port } of ATTACKS) checkPortWorks(lab, port);
    doesNotMatch(lab.output, /replaced/);
    await lab.stop();
    for (const { port, kind } of ATTACKS) checkCounters(lab, port, kind);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function race(lab: Labswitch): Promise<void> {
  using stack = new DisposableStack();
  const keeper = stack.use(await BareGuest.attach(lab.port(KEEPER!).socket));
  keeper.data.fill(SECRET);
  const attackers = ATTACKS.map((attack, number) =>
    stack.use(
      new RacingFrontend({
        ...{ path: lab.port(attack.port).socket, number, kind: attack.kind },
        ...{ isPacked: attack.isPacked, message: message(number), others: [keeper.addressOf(0)] },
        features: FEATURES | (attack.isPacked ? featureSet(VIRTIO_F_RING_PACKED) : 0n),
      }),
    )
  );
  const listener = stack.use(Nic.connect(lab.port(LISTENER!).socket));
  const bystanders = stack.use(new Bystanders(lab));
  const plans = attackers.map((attacker) => attacker.prepare());
  const vcpu = await Race.start({
    memories: attackers.map(({ memory }) => memory),
    flips: plans.flatMap(([flips]) => flips),
    follows: plans.flatMap(([, follows]) => follows),
  });
  try {
    const end = performance.now() + RACE_MS;
    let restart = performance.now() + RESTART_MS;
    for (let now = performance.now(); now < end; now = performance.now()) {
      bystanders.exchange();
      listener.poll(checkBytes);
      // What the attackers receive.
      listener.send(makeFrame(BROADCAST, stationAddress(99), 300).fill(1, 14));
      listener.flush();
      if (now < restart) continue;
      for (const attacker of attackers) attacker.restart();
      ok(attackers.every(({ isCanaryAlive }) => isCanaryAlive));
      restart = now + RESTART_MS;
    }
  } finally {
    await vcpu.stop();
  }
  bystanders.drain();
  console.log(`${vcpu.rounds} rounds of the vCPUs, ${bystanders.returned} frames beside`);
  ok(attackers.every(({ isCanaryAlive }) => isCanaryAlive));
  ok(keeper.data.every((byte) => byte === SECRET));
}

/** The frame that an attacker sends when nothing is flipped, behind a header of zeros. */
function message(number: number): Uint8Array<ArrayBuffer> {
  const { frame } = build({
    ...{ to: BROADCAST, from: stationAddress(100 + number), tags: [], version: 4 },
    ...{ transport: "tcp", networkOptions: 0, transportOptions: 0, identification: 0 },
    ...{ sequence: 0, flags: 0, ports: [1, 2], payload: new Uint8Array(1400).fill(0x11) },
  }, true);
  const bytes = new Uint8Array(12 + frame.length);
  bytes.set(frame, 12);
  return bytes;
}

// Nobody may see what lies around the attackers' regions, nor what another guest keeps.
function checkBytes(frame: Uint8Array): void {
  for (const byte of [CANARY, SECRET]) {
    for (let at = frame.indexOf(byte); at >= 0; at = frame.indexOf(byte, at + 1)) {
      const run = frame.subarray(at, at + LONGER_THAN_A_CHECKSUM);
      ok(run.length < LONGER_THAN_A_CHECKSUM || run.some((other) => other !== byte));
    }
  }
}

/** Two guests that send numbered frames to and fro. */
class Bystanders implements Disposable {
  returned = 0;
  readonly #one: Nic;
  readonly #other: Nic;
  readonly #there = makeFrame(stationAddress(2), stationAddress(1), 200);
  readonly #back = makeFrame(stationAddress(1), stationAddress(2), 200);
  #sent = 0;

  constructor(lab: Labswitch) {
    using stack = new DisposableStack();
    this.#one = stack.use(Nic.connect(lab.port(ONE!).socket));
    this.#other = stack.use(Nic.connect(lab.port(OTHER!).socket));
    stack.move();
  }

  /** Reflects what arrived, checks what came back, and sends what there is room for. */
  exchange(window = WINDOW): void {
    this.#other.poll((frame) => {
      number(this.#back, numberOf(frame));
      ok(this.#other.send(this.#back));
    });
    this.#other.flush();
    this.#one.poll((frame) => strictEqual(numberOf(frame), this.returned++));
    while (this.#sent - this.returned < window) {
      number(this.#there, this.#sent++);
      ok(this.#one.send(this.#there));
    }
    this.#one.flush();
  }

  /** Waits until everything sent has come back. */
  drain(): void {
    const end = performance.now() + DRAIN_MS;
    while (this.returned < this.#sent) {
      ok(performance.now() < end, `${this.returned} of ${this.#sent} frames came back`);
      this.exchange(0);
    }
    ok(this.returned > WINDOW);
  }

  [Symbol.dispose](): void {
    this.#one[Symbol.dispose]();
    this.#other[Symbol.dispose]();
  }
}

function number(frame: Uint8Array, value: number): void {
  new DataView(frame.buffer, frame.byteOffset).setUint32(NUMBER, value);
}

function numberOf(frame: Uint8Array): number {
  return new DataView(frame.buffer, frame.byteOffset).getUint32(NUMBER);
}

/** A guest that keeps the rules attaches where an attacker was; frames pass in either direction. */
function checkPortWorks(lab: Labswitch, port: string): void {
  using nic = Nic.connect(lab.port(port).socket);
  using listener = Nic.connect(lab.port(LISTENER!).socket);
  for (const [from, to] of [[nic, listener], [listener, nic]] as const) {
    const frame = makeFrame(BROADCAST, stationAddress(98), 100);
    from.send(frame);
    from.flush();
    const received: Uint8Array[] = [];
    const end = performance.now() + DRAIN_MS;
    while (received.length === 0 && performance.now() < end) {
      to.wait(DRAIN_MS);
      to.poll((data) => received.push(data.slice()));
    }
    deepStrictEqual(received, [frame], port);
  }
}

/** The switch says at the end that chains were taken and filled, and that others broke a rule. */
function checkCounters(lab: Labswitch, port: string, kind: RacingKind): void {
  const line = new RegExp(`^ *${port} +\\w+ +(\\d+) +\\d+ +(\\d+) +\\d+ +(.*)$`, "m");
  match(lab.output, line);
  const [, received, transmitted, drops] = line.exec(lab.output)!;
  ok(Number(received) > 0 && Number(transmitted) > 0, `${port} took no part`);
  if (kind === "header") return match(drops!, /bad offload/, port);
  // A packed ring can be made incoherent as well.
  const isBroken = new RegExp(`${port} +ring \\d stopped`).test(lab.output);
  ok(isBroken || /bad chain|runt/.test(drops!), port);
}

// ── Wake-ups ─────────────────────────────────────────────────────────────────────────────────────

/** In all, over both formats and both ways to ask. */
const WAKE_UPS = 1_000_000;
/** On a busy machine each sleep takes a time slice. */
const PATIENCE_MS = 600_000;

Deno.test("Switch loses no wake-up of a driver that asks at the last moment a million times (G12)", async () => {
  for (const format of [[], [VIRTIO_F_RING_PACKED]]) {
    for (const event of [[], [VIRTIO_F_EVENT_IDX]]) {
      const features = featureSet(VIRTIO_F_VERSION_1, ...format, ...event);
      const { found, slept, isLost } = await countWakeUps(features, WAKE_UPS / 4, PATIENCE_MS);
      console.log(`${found} found, ${slept} slept`);
      ok(!isLost, `lost after ${found} found, ${slept} slept`);
      strictEqual(found + slept, WAKE_UPS / 4);
      ok(Math.min(found, slept) > 0);
    }
  }
});
