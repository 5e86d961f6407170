/**
 * The plot of a conversation: what an honest front-end says and does, in an order that works, with
 * everything in it that may happen later on: restarts, new memory, other guests of the same socket.
 *
 * @module
 */
import { hasFeature, VHOST_USER_F_PROTOCOL_FEATURES } from "../../../src/virtio/features.ts";
import { encode } from "../../../src/vhost_user/message.ts";
import {
  Request,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VRING_NO_FD,
} from "../../../src/vhost_user/numbers.ts";
import { ruleOf } from "../../../src/vhost_user/requests.ts";
import { NOTHING, ringState, u64 } from "../../support/vhost_messages.ts";
import type { Random } from "../random.ts";
import type { Front } from "./front.ts";
import { askReply, type Draft, drawMessage, isKnown, REQUEST_NAMES } from "./messages.ts";
import type { Step } from "./plan.ts";
import { drawPoke } from "./pokes.ts";

/** A message that is open to mistakes, or a step that is not. */
export type Entry = Draft | Exclude<Step, { kind: "send" }>;

/** Whether an entry is a message. */
export function isDraft(entry: Entry): entry is Draft {
  return "request" in entry;
}

/** Most things that happen between start and end. */
const MAX_INCIDENTS = 4;
/** The share of conversations that start all over on a second connection. */
const REPETITIONS = 0.02;
/** Every status bit up to DRIVER_OK (VIRTIO 1.2, 2.1). */
const DRIVER_OK = 0xf;
/** How often the same message comes in a row, at most. */
const MAX_ECHO = 40;

const KICK_TRANSMIT: Entry = { kind: "kick", ring: 1 };
const REST: Entry = { kind: "rest" };
/** Certainty and number follow when everything that comes before is known. */
const SYNC: Entry = { kind: "sync", isCertain: true, questions: 0 };

/** Writes plots. */
export class Script {
  readonly #random: Random;
  readonly #front: Front;
  readonly #entries: Entry[] = [];
  /** Rings that this front-end uses. */
  readonly #rings: readonly number[];
  readonly #hasEnable: boolean;
  readonly #asks: boolean;
  readonly #incidents: readonly (readonly [weight: number, incident: () => void])[];

  /**
   * @param random Where choices come from.
   * @param front What there is to say.
   */
  constructor(random: Random, front: Front) {
    this.#random = random;
    this.#front = front;
    this.#rings = random.chance(0.06) ? [0, 1, 2, 3] : [0, 1];
    this.#hasEnable = hasFeature(front.features, VHOST_USER_F_PROTOCOL_FEATURES);
    this.#asks = hasFeature(front.protocolFeatures, VHOST_USER_PROTOCOL_F_REPLY_ACK) &&
      random.chance(0.75);
    this.#incidents = [
      [24, () => this.#entries.push({ kind: "kick", ring: this.#anyRing() })],
      [24, () => this.#poke()],
      [20, () => this.#sayAnything()],
      [12, () => this.#restart(this.#anyRing())],
      [7, () => this.#shareMemory()],
      [6, () => this.#say("SET_VRING_ENABLE", this.#anyRing())],
      [6, () => this.#say("SET_VRING_CALL", this.#anyRing())],
      [8, () => this.#entries.push(SYNC)],
      [6, () => this.#entries.push(REST)],
      [2, () => this.#echo()],
      [1, () => this.#intrude()],
      [0.02, () => this.#trap()],
    ];
  }

  /** Writes one. */
  write(): Entry[] {
    const random = this.#random;
    this.#open();
    for (let left = random.below(MAX_INCIDENTS + 1); left > 0; left--) this.#happen();
    if (random.chance(REPETITIONS)) {
      this.#entries.push({ kind: "reconnect" });
      this.#open();
    }
    this.#close();
    return this.#entries;
  }

  #open(): void {
    const random = this.#random;
    if (random.chance(0.4)) this.#say("GET_FEATURES");
    if (random.chance(0.6)) this.#say("GET_PROTOCOL_FEATURES");
    this.#say("SET_PROTOCOL_FEATURES");
    if (random.chance(0.2) && this.#may("GET_QUEUE_NUM")) this.#say("GET_QUEUE_NUM");
    if (random.chance(0.6)) this.#say("SET_OWNER");
    if (random.chance(0.15)) { for (const ring of this.#rings) this.#say("SET_VRING_ERR", ring); }
    const isEarly = random.chance(0.3);
    if (isEarly) this.#enable();
    this.#say("SET_FEATURES");
    this.#shareMemory();
    for (const ring of this.#rings) this.#start(ring);
    if (!isEarly && this.#hasEnable) this.#enable();
    if (this.#may("SET_STATUS") && random.chance(0.8)) {
      this.#push({ ...drawMessage("SET_STATUS", random, this.#front), payload: u64(DRIVER_OK) });
    }
    if (random.chance(0.7)) this.#entries.push(KICK_TRANSMIT);
    if (random.chance(0.5)) this.#entries.push(SYNC);
    this.#entries.push(REST);
  }

  #close(): void {
    const random = this.#random;
    if (random.chance(0.25)) {
      for (const ring of this.#rings) this.#say("GET_VRING_BASE", ring);
    }
    if (random.chance(0.6)) this.#entries.push(SYNC);
  }

  #happen(): void {
    const total = this.#incidents.reduce((sum, [weight]) => sum + weight, 0);
    let left = this.#random.next() / 2 ** 32 * total;
    for (const [weight, incident] of this.#incidents) if ((left -= weight) < 0) return incident();
  }

  #enable(): void {
    for (const ring of this.#rings) this.#say("SET_VRING_ENABLE", ring);
  }

  #shareMemory(): void {
    const canAdd = this.#may("ADD_MEM_REG");
    if (!canAdd || this.#random.chance(0.7)) return this.#say("SET_MEM_TABLE");
    for (const i of this.#front.regions.keys()) this.#say("ADD_MEM_REG", i);
  }

  #start(ring: number): void {
    const random = this.#random;
    const names = ["SET_VRING_NUM", "SET_VRING_ADDR"];
    // A split ring goes on where its used index says, and not every guest wants to be called.
    if (this.#front.plan.isPacked || random.chance(0.7)) names.push("SET_VRING_BASE");
    if (random.chance(0.8)) names.push("SET_VRING_CALL");
    if (random.chance(0.3)) shuffle(random, names);
    for (const name of names) this.#say(name, ring);
    if (this.#front.rings[ring]!.isStarted) this.#say("SET_VRING_KICK", ring);
  }

  #restart(ring: number): void {
    this.#say("GET_VRING_BASE", ring);
    if (this.#random.chance(0.5)) return this.#start(ring);
    this.#say("SET_VRING_CALL", ring);
    this.#say("SET_VRING_KICK", ring);
  }

  #sayAnything(): void {
    const random = this.#random;
    const name = random.pick(REQUEST_NAMES);
    if (this.#may(name) || random.chance(0.1)) this.#say(name, this.#anyRing());
  }

  #poke(): void {
    this.#entries.push(drawPoke(this.#random, this.#front));
    if (this.#random.chance(0.7)) this.#entries.push(KICK_TRANSMIT);
  }

  #echo(): void {
    const random = this.#random;
    const draft = this.#draft(random.pick(REQUEST_NAMES), this.#anyRing());
    for (let left = random.between(2, MAX_ECHO); left > 0; left--) {
      this.#entries.push({ ...draft, payload: draft.payload.slice(), fds: [...draft.fds] });
    }
  }

  #intrude(): void {
    const data = this.#random.pick([
      NOTHING,
      encode(Request.GET_FEATURES, 0, NOTHING),
      encode(Request.GET_VRING_BASE, 0, ringState(0, 0)),
      encode(Request.SET_VRING_KICK, 0, u64(VRING_NO_FD)),
    ]);
    this.#entries.push({ kind: "intrude", data });
  }

  // Whoever calls this guest waits, until somebody makes room.
  #trap(): void {
    const ring = this.#anyRing();
    this.#push({ ...this.#draft("SET_VRING_CALL", ring), fds: ["full waiting eventfd"] });
    this.#entries.push({ kind: "trap" }, KICK_TRANSMIT, REST);
  }

  #say(name: string, ring = 0): void {
    this.#push(this.#draft(name, ring));
  }

  #push(draft: Draft): void {
    this.#entries.push(this.#asks && this.#random.chance(0.9) ? askReply(draft) : draft);
  }

  #draft(name: string, ring: number): Draft {
    return drawMessage(name, this.#random, this.#front, ring);
  }

  // Whether a request exists and what it needs was negotiated.
  #may(name: string): boolean {
    if (!isKnown(name)) return false;
    const gate = ruleOf(drawMessage(name, this.#random, this.#front).request)?.gate;
    return gate === undefined || hasFeature(this.#front.protocolFeatures, gate);
  }

  #anyRing(): number {
    return this.#random.pick(this.#rings);
  }
}

/** Puts values into another order. */
export function shuffle<T>(random: Random, values: T[]): void {
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [values[i], values[j]] = [values[j]!, values[i]!];
  }
}
