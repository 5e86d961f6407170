/**
 * Draws conversations: a guest with rings, the plot of an honest front-end, and then mistakes.
 *
 * A conversation follows from a seed and its number alone, so that it can be held again by itself.
 *
 * @module
 */
import { Request } from "../../../src/vhost_user/numbers.ts";
import { Random } from "../random.ts";
import { GuestMaker, type GuestPlan, REGION_BYTES } from "../situation.ts";
import { GuestMemory } from "../../support/guest_memory.ts";
import { drawFront } from "./front.ts";
import { REGION_OFFSETS, TEMPLATE } from "./layout.ts";
import { type Draft, drawMessage, REQUEST_NAMES } from "./messages.ts";
import { encodeDraft, keepsStep, makeMistake } from "./mistakes.ts";
import type { Conversation, SendStep, Step } from "./plan.ts";
import { watch } from "./pokes.ts";
import { type Entry, isDraft, Script } from "./script.ts";

/** The share of conversations that have mistakes in their messages. */
const MISTAKEN = 0.36;
const MAX_MISTAKES = 3;
/** The share that has messages in another order, twice, or not at all. */
const DISORDERED = 0.06;
/** The share that says something before its time. */
const PRELUDED = 0.02;
/** The share that ends in the middle. */
const ABRUPT = 0.08;
/** The share that ends inside its last message. */
const UNFINISHED = 0.05;
/** The share that sends several messages in one write. */
const BATCHED = 0.6;
/** The share that sends every message in several writes. */
const IN_PIECES = 0.06;

/** Draws conversations. */
export class ConversationMaker {
  readonly #memory = new GuestMemory(
    REGION_OFFSETS.map((_, i) => ({
      guestAddress: BigInt(i * REGION_BYTES),
      sizeBytes: REGION_BYTES,
    })),
  );
  readonly #view = new DataView(this.#memory.memory.buffer);

  /**
   * Draws a conversation.
   *
   * @param seed The run.
   * @param number Its number in the run.
   */
  draw(seed: number, number: number): Conversation {
    const random = new Random(seed, number);
    const plan = this.#drawGuest(random);
    const front = drawFront(random, plan);
    const entries = new Script(random, front).write();
    const mistakes = random.chance(MISTAKEN) ? spoil(random, entries) : 0;
    if (random.chance(DISORDERED)) disorder(random, entries);
    if (random.chance(PRELUDED)) entries.splice(random.below(3), 0, prelude(random, front));
    if (random.chance(ABRUPT)) entries.length = random.below(entries.length) + 1;
    const [receive, transmit] = plan.rings.map((ring) => watch(plan, ring));
    return {
      ...{ steps: toSteps(random, entries), memory: this.#copyMemory() },
      ...{ receive: receive!, transmit: transmit!, sharesGuards: mistakes > 0 },
      sharesSocket: entries.some((entry) => isDraft(entry) && entry.fds.includes("itself")),
    };
  }

  #copyMemory(): Uint8Array {
    const copy = new Uint8Array(TEMPLATE.length);
    this.#memory.regions.forEach(({ localAddress }, i) => {
      const bytes = this.#memory.bytes.subarray(localAddress, localAddress + REGION_BYTES);
      copy.set(bytes, i * REGION_BYTES);
    });
    return copy;
  }

  #drawGuest(random: Random): GuestPlan {
    this.#memory.regions.forEach(({ localAddress }, i) => {
      const bytes = TEMPLATE.subarray(i * REGION_BYTES, (i + 1) * REGION_BYTES);
      this.#memory.bytes.set(bytes, localAddress);
    });
    const kind = { isPacked: random.chance(0.5), hasOffloads: random.chance(0.5) };
    const plan = new GuestMaker(random, this.#memory, this.#view, kind).make();
    if (!plan.isPacked) this.#writeUsedIndexes(random, plan);
    return plan;
  }

  // A split ring goes on where its used index says.
  #writeUsedIndexes(random: Random, plan: GuestPlan): void {
    for (const { places, index } of plan.rings) {
      const value = random.chance(0.98) ? index : random.next();
      this.#view.setUint16(places.used + 2, value, true);
    }
  }
}

function spoil(random: Random, entries: readonly Entry[]): number {
  const drafts = entries.filter(isDraft);
  const mistakes = random.chance(0.75) ? 1 : random.between(2, MAX_MISTAKES);
  for (let left = mistakes; left > 0; left--) makeMistake(random, random.pick(drafts));
  return mistakes;
}

function disorder(random: Random, entries: Entry[]): void {
  const [i, j] = [random.below(entries.length), random.below(entries.length)];
  const way = random.below(4);
  if (way === 0) [entries[i], entries[j]] = [entries[j]!, entries[i]!];
  else if (way === 1) entries.splice(i, 1);
  else if (way === 2) entries.splice(j, 0, entries[i]!);
  else entries.splice(j, 0, ...entries.splice(i, random.between(1, 4)));
}

// Something before the first message of the plot.
function prelude(random: Random, front: ReturnType<typeof drawFront>): Draft {
  return drawMessage(random.pick(REQUEST_NAMES), random, front, random.below(2));
}

function toSteps(random: Random, entries: readonly Entry[]): Step[] {
  const steps = new StepList(random.chance(BATCHED));
  for (const entry of entries) steps.add(entry);
  if (random.chance(UNFINISHED)) steps.leaveInside(random);
  if (!random.chance(IN_PIECES)) return steps.steps;
  return steps.steps.map((step) => step.kind === "send" ? cut(random, step) : step);
}

/** Makes steps of entries, and knows how the connection stands after each. */
class StepList {
  readonly steps: Step[] = [];
  readonly #isBatched: boolean;
  /** Whether the switch takes the next message's first byte for what it is. */
  #isInStep = true;
  /** Questions for features on this connection. */
  #questions = 0;

  constructor(isBatched: boolean) {
    this.#isBatched = isBatched;
  }

  add(entry: Entry): void {
    if (isDraft(entry)) return this.#addMessage(entry);
    if (entry.kind === "sync") {
      this.#questions++;
      this.steps.push({ ...entry, isCertain: this.#isInStep, questions: this.#questions });
      return;
    }
    if (entry.kind === "reconnect") {
      this.#isInStep = true;
      this.#questions = 0;
    }
    this.steps.push(entry);
  }

  // The front-end hangs up before its last message is complete.
  leaveInside(random: Random): void {
    const last = this.steps.at(-1);
    if (last?.kind !== "send") return;
    const data = last.data.subarray(0, random.below(last.data.length));
    this.steps[this.steps.length - 1] = { ...last, data };
  }

  #addMessage(draft: Draft): void {
    this.#isInStep &&= keepsStep(draft);
    if (draft.request === Request.GET_FEATURES) this.#questions++;
    const data = encodeDraft(draft);
    const last = this.steps.at(-1);
    if (this.#isBatched && last?.kind === "send" && draft.fds.length === 0) {
      this.steps[this.steps.length - 1] = { ...last, data: joined(last.data, data) };
    } else this.steps.push({ kind: "send", data, fds: draft.fds, cuts: [], fdsWith: 0 });
  }
}

function cut(random: Random, step: SendStep): SendStep {
  const { length } = step.data;
  const cuts = random.chance(0.1)
    ? Array.from({ length: Math.min(length, 64) }, (_, i) => i)
    : Array.from({ length: random.between(1, 4) }, () => random.below(length + 1));
  const fdsWith = random.chance(0.9) ? 0 : random.below(cuts.length + 1);
  return { ...step, cuts: cuts.toSorted((a, b) => a - b), fdsWith };
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const data = new Uint8Array(first.length + second.length);
  data.set(first);
  data.set(second, first.length);
  return data;
}
