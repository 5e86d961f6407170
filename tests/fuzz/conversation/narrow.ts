/**
 * Looks for the one conversation among many that makes the switch fail, by holding them again, each
 * time with a switch of its own.
 *
 * @module
 */
import type { NumberedConversation } from "./attacker.ts";
import { Campaign, CampaignFailure } from "./campaign.ts";

/** Gives a conversation by its number. */
export type Recall = (number: number) => NumberedConversation;

/** What makes the switch fail again. */
export interface Culprits {
  /** Numbers of conversations to be held one after the other on one port; often a single one. */
  readonly numbers: readonly number[];
  /** What they show. */
  readonly failure: CampaignFailure;
}

/** How often everything is tried again in the hope that it fails once more. */
const TRIES = 3;

/**
 * Narrows suspects down.
 *
 * @param suspects Numbers of conversations.
 * @param recall Gives them.
 * @returns As few as were found, or null when the failure does not come again.
 */
export async function narrow(
  suspects: readonly number[],
  recall: Recall,
): Promise<Culprits | null> {
  for (let i = 0; i < TRIES; i++) {
    const found = await holdInOrder(suspects, recall);
    if (found !== null) return await shorten(found, recall);
  }
  return await holdTogether(suspects, recall);
}

// One port and one conversation at a time: the one that fails is known, what it needs is before it.
async function holdInOrder(numbers: readonly number[], recall: Recall): Promise<Culprits | null> {
  await using campaign = await Campaign.start(1);
  for (const [i, number] of numbers.entries()) {
    try {
      await campaign.run([recall(number)]);
    } catch (failure) {
      if (!(failure instanceof CampaignFailure)) throw failure;
      return { numbers: numbers.slice(0, i + 1), failure };
    }
  }
  return null;
}

// The last one alone, the last two, four, and so on.
async function shorten(found: Culprits, recall: Recall): Promise<Culprits> {
  for (let count = 1; count < found.numbers.length; count *= 2) {
    const fewer = await holdInOrder(found.numbers.slice(-count), recall);
    if (fewer !== null) return fewer;
  }
  return found;
}

// All ports at once, as when it failed first; then halves, as long as one of them still fails.
async function holdTogether(numbers: readonly number[], recall: Recall): Promise<Culprits | null> {
  for (let i = 0; i < TRIES; i++) {
    const failure = await failureOf(numbers, recall);
    if (failure === null) continue;
    const half = Math.ceil(numbers.length / 2);
    if (half === numbers.length) return { numbers, failure };
    for (const part of [numbers.slice(half), numbers.slice(0, half)]) {
      const fewer = await holdTogether(part, recall);
      if (fewer !== null) return fewer;
    }
    return { numbers, failure };
  }
  return null;
}

async function failureOf(
  numbers: readonly number[],
  recall: Recall,
): Promise<CampaignFailure | null> {
  await using campaign = await Campaign.start();
  try {
    await campaign.run(numbers.map(recall));
    return null;
  } catch (failure) {
    if (failure instanceof CampaignFailure) return failure;
    throw failure;
  }
}
