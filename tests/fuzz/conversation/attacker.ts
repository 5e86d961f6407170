/**
 * Holds conversations with one port, one after the other. After each it connects anew and asks for
 * the features: the port must answer in time, whatever was said before.
 *
 * It is a coroutine that never blocks its thread, so many attackers work side by side.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { EventFd } from "../../../ffi/eventfd.ts";
import type { Fd } from "../../../ffi/fd.ts";
import { createGuestMemory, mapShared, memoryAddress } from "../../../ffi/memory.ts";
import { encode } from "../../../src/vhost_user/message.ts";
import { Request } from "../../../src/vhost_user/numbers.ts";
import { NOTHING } from "../../support/vhost_messages.ts";
import { REGION_BYTES } from "../situation.ts";
import { type MemoryKind, type OddDescriptors, openMemory } from "./descriptors.ts";
import { Finding } from "./finding.ts";
import { FrontEnd } from "./front_end.ts";
import { FILE_BYTES, GUARD_BYTE, GUARDS, REGION_OFFSETS } from "./layout.ts";
import {
  type Conversation,
  type DescriptorName,
  RINGS,
  type SendStep,
  type Step,
  type SyncStep,
  type WatchedRing,
} from "./plan.ts";

/**
 * How long the switch may take for an answer. It is a bound, not a measurement: a message may stay
 * unfinished for five seconds, and a machine that is busy with other things adds as much again.
 */
const ANSWER_LIMIT_MS = 30_000;
/** A moment: for rings to be worked on, and for answers that need not come. */
const REST_MS = 5;

/** Between two tries to connect to a port that is held by an earlier connection. */
const RETRY_MS = 100;

const QUESTION = encode(Request.GET_FEATURES, 0, NOTHING);

/** What an attacker needs. */
export interface AttackerOptions {
  /** The port's socket. */
  readonly path: string;
  /** Odd descriptors; stay the caller's. */
  readonly odd: OddDescriptors;
  /** Where the guest's memory is: what is on tmpfs the switch allocates before it maps it. */
  readonly memory: MemoryKind;
}

/** A conversation with the number that it is known by. */
export interface NumberedConversation {
  /** Its number. */
  readonly number: number;
  /** What is said. */
  readonly conversation: Conversation;
}

/** Gives the next conversation, or null when there is none. */
export type NextConversation = () => NumberedConversation | null;

/** What happened so far. */
export interface AttackerStatistics {
  /** Conversations held. */
  conversations: number;
  /** Of these, those whose transmit or receive ring gave a chain back. */
  running: number;
  /** Messages, not counting the question after each conversation. */
  steps: number;
  /** The longest time until a question was answered, in milliseconds. */
  longestAnswerMs: number;
}

/** A coroutine; each step goes on until it has to wait. */
type Waiting<T = void> = Generator<undefined, T>;

/** Attacks one port. */
export class Attacker implements Disposable {
  /** What happened so far. */
  readonly statistics: AttackerStatistics = {
    ...{ conversations: 0, running: 0, steps: 0, longestAnswerMs: 0 },
  };
  readonly #options: AttackerOptions;
  readonly #stack = new DisposableStack();
  readonly #descriptors = new Map<DescriptorName, Fd>();
  readonly #kicks: readonly EventFd[];
  readonly #memory: Buffer;
  readonly #guards: readonly Buffer[];
  #course: Waiting | null = null;
  #connection: FrontEnd | null = null;
  #intruders: FrontEnd[] = [];
  #inFlight: number | null = null;
  #isWaitingForAnswer = false;

  /** @param options Its port and what it says there. */
  constructor(options: AttackerOptions) {
    this.#options = options;
    const file = this.#stack.use(openMemory(options.memory));
    const memory = createGuestMemory(1, 1);
    // SAFETY: the range is exactly the memory that was made in the line above.
    mapShared(memoryAddress(memory), BigInt(FILE_BYTES), file, 0n);
    this.#memory = Buffer.from(memory.buffer as ArrayBuffer);
    this.#guards = GUARDS.map(([from, to]) => Buffer.alloc(to - from, GUARD_BYTE));
    this.#descriptors.set("memory", file);
    this.#kicks = Array.from({ length: RINGS }, (_, ring) => this.#openEvent(`kick${ring}`));
    for (let ring = 0; ring < RINGS; ring++) this.#openEvent(`call${ring}`);
    this.#writeGuards();
  }

  /** The number of the conversation that is being held, or null. */
  get inFlight(): number | null {
    return this.#inFlight;
  }

  /** The socket on which an answer is awaited, or null when only time can help. */
  get awaited(): Fd | null {
    return this.#isWaitingForAnswer ? this.#connection?.socket ?? null : null;
  }

  /** Begins to hold conversations, until there is none left; then it hangs up. */
  begin(next: NextConversation): void {
    this.#course = this.#attack(next);
  }

  /**
   * Goes on until there is something to wait for.
   *
   * @returns Whether there is more to come.
   * @throws {Finding} When the switch did something that it should not.
   */
  advance(): boolean {
    if (this.#course?.next().done) this.#course = null;
    return this.#course !== null;
  }

  /** Hangs up and closes everything. */
  [Symbol.dispose](): void {
    this.#hangUp();
    this.#stack.dispose();
  }

  #openEvent(name: DescriptorName): EventFd {
    const event = this.#stack.use(EventFd.create());
    this.#descriptors.set(name, event.fd);
    return event;
  }

  *#attack(next: NextConversation): Waiting {
    yield* this.#question(false);
    for (let one = next(); one !== null; one = next()) {
      const { number, conversation } = one;
      this.#inFlight = number;
      this.#writeMemory(conversation);
      const before = this.#progress(conversation);
      yield* this.#hold(conversation);
      this.#hangUp();
      // The answer also says that the switch has noticed the end: nothing of ours runs any more.
      yield* this.#question(conversation.sharesSocket);
      this.#judge(conversation, before !== this.#progress(conversation));
      this.#inFlight = null;
    }
    this.#hangUp();
  }

  *#question(mayBeHeld: boolean): Waiting {
    const start = performance.now();
    while (!(yield* this.#ask(start))) {
      if (!mayBeHeld) throw new Finding("the port turned its only front-end away");
      yield* this.#pause(RETRY_MS);
    }
    if (mayBeHeld) return;
    const { statistics } = this;
    statistics.longestAnswerMs = Math.max(statistics.longestAnswerMs, performance.now() - start);
  }

  // Returns whether there was an answer.
  *#ask(start: number): Waiting<boolean> {
    const connection = yield* this.#connect();
    connection.send(QUESTION, []);
    for (;;) {
      connection.read();
      if (connection.answers > 0) return true;
      if (connection.isOver) {
        this.#hangUp();
        return false;
      }
      yield* this.#awaitAnswer(start);
    }
  }

  *#pause(durationMs: number): Waiting {
    const start = performance.now();
    while (performance.now() - start < durationMs) yield;
  }

  *#connect(): Waiting<FrontEnd> {
    const start = performance.now();
    for (;;) {
      const connection = FrontEnd.connect(this.#options.path);
      if (connection !== null) return this.#connection = connection;
      yield* this.#awaitAnswer(start);
    }
  }

  *#awaitAnswer(start: number): Waiting {
    if (performance.now() - start > ANSWER_LIMIT_MS) {
      throw new Finding(`no answer within ${ANSWER_LIMIT_MS} ms`);
    }
    this.#isWaitingForAnswer = true;
    yield;
    this.#isWaitingForAnswer = false;
  }

  *#hold({ steps, transmit }: Conversation): Waiting {
    const questions = this.#connection!.answers;
    const first = this.#connection;
    for (const step of steps) {
      const connection = this.#connection!;
      // Nobody listens to the rest, unless there is another connection.
      if (connection.isOver && step.kind !== "reconnect") continue;
      this.statistics.steps++;
      const heard = connection === first ? questions : 0;
      if (step.kind === "send") yield* this.#send(connection, step);
      else if (step.kind === "sync") yield* this.#sync(connection, step, heard);
      else if (step.kind === "rest") yield* this.#rest(transmit);
      else if (step.kind === "reconnect") {
        connection[Symbol.dispose]();
        yield* this.#connect();
      } else this.#act(step);
    }
  }

  #act(step: Exclude<Step, { kind: "send" | "sync" | "rest" | "reconnect" }>): void {
    if (step.kind === "kick") this.#kicks[step.ring]!.signal();
    else if (step.kind === "poke") this.#memory.set(step.bytes, step.at);
    else if (step.kind === "trap") this.#options.odd.trap();
    else {
      const intruder = FrontEnd.connect(this.#options.path);
      if (intruder === null) return;
      intruder.send(step.data, []);
      this.#intruders.push(intruder);
    }
  }

  *#send(connection: FrontEnd, { data, fds, cuts, fdsWith }: SendStep): Waiting {
    const descriptors = fds.map((name) => this.#descriptor(connection, name));
    const ends = [...cuts, data.length];
    for (const [i, end] of ends.entries()) {
      const piece = data.subarray(i === 0 ? 0 : ends[i - 1], end);
      yield* this.#sendPiece(connection, piece, i === fdsWith ? descriptors : []);
    }
  }

  *#sendPiece(connection: FrontEnd, piece: Uint8Array, fds: readonly Fd[]): Waiting {
    const start = performance.now();
    for (let [rest, passed] = [piece, fds]; rest.length > 0;) {
      const sent = connection.send(rest, passed);
      if (sent > 0) [rest, passed] = [rest.subarray(sent), []];
      else {
        // It may wait until we read.
        connection.read();
        yield* this.#awaitAnswer(start);
      }
    }
  }

  *#sync(connection: FrontEnd, { isCertain, questions }: SyncStep, heard: number): Waiting {
    yield* this.#sendPiece(connection, QUESTION, []);
    const start = performance.now();
    for (;;) {
      connection.read();
      if (connection.isOver || connection.answers >= heard + questions) return;
      if (!isCertain && performance.now() - start > REST_MS) return;
      yield* this.#awaitAnswer(start);
    }
  }

  *#rest(ring: WatchedRing): Waiting {
    const start = performance.now();
    const before = this.#word(ring);
    while (this.#word(ring) === before && performance.now() - start < REST_MS) yield;
  }

  #descriptor(connection: FrontEnd, name: DescriptorName): Fd {
    if (name === "itself") return connection.socket;
    const own = this.#descriptors.get(name);
    return own ?? this.#options.odd.get(name as Parameters<OddDescriptors["get"]>[0]);
  }

  #hangUp(): void {
    this.#connection?.[Symbol.dispose]();
    this.#connection = null;
    for (const intruder of this.#intruders) intruder[Symbol.dispose]();
    this.#intruders = [];
  }

  #judge({ sharesGuards }: Conversation, isRunning: boolean): void {
    this.statistics.conversations++;
    if (isRunning) this.statistics.running++;
    const isAlive = this.#guards.every((guard, i) => guard.equals(this.#guardOf(i)));
    if (isAlive) return;
    if (!sharesGuards) throw new Finding("the switch wrote outside of the guest's memory");
    this.#writeGuards();
  }

  #writeMemory({ memory }: Conversation): void {
    REGION_OFFSETS.forEach((offset, i) => {
      this.#memory.set(memory.subarray(i * REGION_BYTES, (i + 1) * REGION_BYTES), offset);
    });
  }

  #guardOf(i: number): Buffer {
    return this.#memory.subarray(...GUARDS[i]!);
  }

  #writeGuards(): void {
    for (const [from, to] of GUARDS) this.#memory.fill(GUARD_BYTE, from, to);
  }

  #progress({ transmit, receive }: Conversation): number {
    return this.#word(transmit) << 16 | this.#word(receive);
  }

  #word({ at, mask }: WatchedRing): number {
    return this.#memory.readUInt16LE(at) & mask;
  }
}
