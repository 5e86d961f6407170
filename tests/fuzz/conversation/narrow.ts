/**
 * Looks for the one conversation among many that makes the switch fail, by holding them again, each
 * time with a switch of its own.
 *
 * @module
 */
import type { NumberedConversation } from "./attacker.ts";
import { Campaign, CampaignFailure, type CampaignOptions } from "./campaign.ts";

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
 * @param options The switch that failed.
 * @returns As few as were found, or null when the failure does not come again.
 */
export async function narrow(
  suspects: readonly number[],
  recall: Recall,
  options: CampaignOptions,
): Promise<Culprits | null> {
  const search = new Search(recall, options);
  for (let i = 0; i < TRIES; i++) {
    const found = await search.holdInOrder(suspects);
    if (found !== null) return await search.shorten(found);
  }
  return await search.holdTogether(suspects);
}

class Search {
  readonly #recall: Recall;
  readonly #options: CampaignOptions;

  constructor(recall: Recall, options: CampaignOptions) {
    this.#recall = recall;
    this.#options = options;
  }

  // One port and one conversation at a time: the one that fails is known, what it needs is before it.
  async holdInOrder(numbers: readonly number[]): Promise<Culprits | null> {
    await using campaign = await Campaign.start({ ...this.#options, ports: 1 });
    for (const [i, number] of numbers.entries()) {
      try {
        await campaign.run([this.#recall(number)]);
      } catch (failure) {
        if (!(failure instanceof CampaignFailure)) throw failure;
        return { numbers: numbers.slice(0, i + 1), failure };
      }
    }
    return null;
  }

  // The last one alone, the last two, four, and so on.
  async shorten(found: Culprits): Promise<Culprits> {
    for (let count = 1; count < found.numbers.length; count *= 2) {
      const fewer = await this.holdInOrder(found.numbers.slice(-count));
      if (fewer !== null) return fewer;
    }
    return found;
  }

  // All ports at once, as when it failed first; then halves, as long as one of them still fails.
  async holdTogether(numbers: readonly number[]): Promise<Culprits | null> {
    for (let i = 0; i < TRIES; i++) {
      const failure = await this.#failureOf(numbers);
      if (failure === null) continue;
      const half = Math.ceil(numbers.length / 2);
      if (half === numbers.length) return { numbers, failure };
      for (const part of [numbers.slice(half), numbers.slice(0, half)]) {
        const fewer = await this.holdTogether(part);
        if (fewer !== null) return fewer;
      }
      return { numbers, failure };
    }
    return null;
  }

  async #failureOf(numbers: readonly number[]): Promise<CampaignFailure | null> {
    await using campaign = await Campaign.start(this.#options);
    try {
      await campaign.run(numbers.map(this.#recall));
      return null;
    } catch (failure) {
      if (failure instanceof CampaignFailure) return failure;
      throw failure;
    }
  }
}
