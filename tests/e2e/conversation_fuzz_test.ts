/**
 * Random conversations with a switch in a process of its own: grammar, mistakes, rings, descriptors.
 *
 * The seed is printed; `deno task fuzz conversations` holds the same ones for as long as one likes.
 *
 * @module
 */
import { ok, rejects } from "node:assert/strict";
import { Campaign, CampaignFailure } from "../fuzz/conversation/campaign.ts";
import {
  again,
  CONVERSATIONS_PER_CHECK,
  recallAll,
  summary,
} from "../fuzz/conversation/command.ts";
import { readFixtures } from "../fuzz/conversation/fixture.ts";
import { drawSeed } from "../support/options.ts";
import { ConversationMaker } from "../fuzz/conversation/generator.ts";
import type { Recall } from "../fuzz/conversation/narrow.ts";

const FIXTURES = new URL("../fuzz/conversation/fixtures/", import.meta.url);
const CONVERSATIONS = 100_000;
/** Six in ten get so far on a machine that has time for their rings; fewer on a busy one. */
const MIN_RUNNING = 0.4;
/** Conversations with the switch that prints every kind of event. */
const CONVERSATIONS_READ = 10_000;
/** Different refusals, ends and other events among them: what the grammar reaches. */
const MIN_KINDS = 100;

function recallOf(seed: number): Recall {
  const maker = new ConversationMaker();
  return (number) => ({ number, conversation: maker.draw(seed, number) });
}

async function hold(campaign: Campaign, seed: number, count: number): Promise<void> {
  const recall = recallOf(seed);
  for (let first = 0; first < count; first += CONVERSATIONS_PER_CHECK) {
    const some = Math.min(CONVERSATIONS_PER_CHECK, count - first);
    try {
      await campaign.run(recallAll(first, some, recall));
    } catch (error) {
      if (error instanceof CampaignFailure) error.message += `\n${again(seed, error.suspects)}`;
      throw error;
    }
  }
}

Deno.test("Switch survives conversations that once harmed a switch (F98)", async () => {
  await using campaign = await Campaign.start();
  for (const { showed, conversations } of await readFixtures(FIXTURES)) {
    try {
      await campaign.run(conversations);
    } catch (error) {
      (error as Error).message += `\nit showed before: ${showed}`;
      throw error;
    }
  }
});

Deno.test(`Switch survives ${CONVERSATIONS} random conversations (F98, F99, G100)`, async () => {
  const seed = drawSeed();
  console.log(`seed ${seed}`);
  await using campaign = await Campaign.start();
  await hold(campaign, seed, CONVERSATIONS);
  const report = campaign.report();
  console.log(summary(report));
  ok(report.running > MIN_RUNNING * CONVERSATIONS, `only ${report.running} had running rings`);
});

Deno.test("Switch ends no connection because of a fault of its own (F98)", async () => {
  const seed = drawSeed();
  console.log(`seed ${seed}`);
  await using campaign = await Campaign.start({ isTalkative: true });
  await hold(campaign, seed, CONVERSATIONS_READ);
  const report = campaign.report();
  console.log(summary(report));
  ok(report.kinds > MIN_KINDS, `the switch had only ${report.kinds} different things to say`);
});

Deno.test("Campaign notices a switch that dies, and names few suspects (F98)", async () => {
  await using campaign = await Campaign.start();
  await hold(campaign, 1, 100);
  const killed = recallAll(0, CONVERSATIONS, (number) => {
    if (number === 500) Deno.kill(campaign.pid, "SIGKILL");
    return recallOf(1)(number);
  });
  await rejects(campaign.run(killed), (error) => {
    return error instanceof CampaignFailure && error.suspects.includes(500) &&
      error.suspects.length <= 250;
  });
});
