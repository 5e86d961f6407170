/**
 * The command that holds conversations for a long time:
 *
 *     deno task fuzz conversations --inputs 1000000 --seed 7
 *
 * The first finding ends it with exit code 1, after it has looked for the conversation that caused it;
 * it prints a line that holds just that one again, and writes it to a file that can become a fixture.
 *
 * @module
 */
import type { Command } from "commander";
import { drawSeed, parseCount } from "../../support/options.ts";
import type { NumberedConversation } from "./attacker.ts";
import {
  Campaign,
  CampaignFailure,
  type CampaignOptions,
  type CampaignReport,
} from "./campaign.ts";
import { formatFixture } from "./fixture.ts";
import { ConversationMaker } from "./generator.ts";
import { narrow, type Recall } from "./narrow.ts";

/** Conversations between two looks at what the switch holds, and between two lines. */
export const CONVERSATIONS_PER_CHECK = 10_000;

/** What the command line says. */
interface Options {
  readonly inputs: number;
  readonly first: number;
  readonly seed: number;
  readonly talkative?: boolean;
}

/**
 * Adds the subcommand.
 *
 * @param program The command that it belongs to; the process exits when the subcommand has ended.
 */
export function addConversationsCommand(program: Command): void {
  program.command("conversations")
    .description("Holds random vhost-user conversations with a switch in another process.")
    .option("--inputs <count>", "how many conversations to hold", parseCount, 10_000_000)
    .option("--first <number>", "the first conversation", parseCount, 0)
    .option("--seed <number>", "32 bits; drawn when left out", parseCount, drawSeed())
    .option("--talkative", "with a switch that prints every kind of event, each once")
    .action(async (options: Options) => Deno.exit(await holdConversations(options)));
}

/**
 * Holds conversations until all are held or one finds something.
 *
 * @param options Which ones.
 * @returns The exit code.
 */
export async function holdConversations(options: Options): Promise<number> {
  const { inputs, first, seed, talkative: isTalkative = false } = options;
  console.log(`seed ${seed}`);
  const maker = new ConversationMaker();
  const recall: Recall = (number) => ({ number, conversation: maker.draw(seed, number) });
  try {
    await using campaign = await Campaign.start({ isTalkative });
    const start = performance.now();
    for (let done = 0; done < inputs;) {
      const count = Math.min(CONVERSATIONS_PER_CHECK, inputs - done);
      await campaign.run(recallAll(first + done, count, recall));
      done += count;
      const seconds = (performance.now() - start) / 1000;
      console.log(`${summary(campaign.report())}, ${Math.round(done / seconds)}/s`);
    }
    return 0;
  } catch (error) {
    if (!(error instanceof CampaignFailure)) throw error;
    await reportFailure(error, seed, recall, { isTalkative });
    return 1;
  }
}

/**
 * Draws conversations one by one.
 *
 * @param first The first one's number.
 * @param count How many.
 * @param recall Draws one.
 */
export function* recallAll(
  first: number,
  count: number,
  recall: Recall,
): Generator<NumberedConversation> {
  for (let i = 0; i < count; i++) yield recall(first + i);
}

/** The command that holds conversations again, and those between them. */
export function again(seed: number, numbers: readonly number[]): string {
  const [first, last] = [Math.min(...numbers), Math.max(...numbers)];
  return `again: deno task fuzz conversations --seed ${seed} --first ${first} ` +
    `--inputs ${last - first + 1}`;
}

/** Says in one line what a campaign has seen. */
export function summary(report: CampaignReport): string {
  const { conversations, running, steps, lines, kinds } = report;
  return [
    `${conversations} conversations`,
    `${(100 * running / conversations).toFixed(1)} % with running rings`,
    `${(steps / conversations).toFixed(1)} steps each`,
    `answers within ${report.longestAnswerMs.toFixed(0)} ms`,
    `${report.passes} frames of bystanders within ${report.longestPassMs.toFixed(0)} ms`,
    `${lines} lines, ${kinds} kinds of them`,
    `grown by ${(report.grownBytes / 2 ** 20).toFixed(1)} MiB`,
  ].join(", ");
}

async function reportFailure(
  error: CampaignFailure,
  seed: number,
  recall: Recall,
  options: CampaignOptions,
): Promise<void> {
  const { suspects } = error;
  console.error(`${suspects.length} conversations of seed ${seed} are suspect: ${error.message}`);
  console.error(again(seed, suspects));
  console.error("looking for the one that did it");
  const culprits = await narrow(suspects, recall, options);
  if (culprits === null) return console.error("it does not happen again");
  const { numbers, failure } = culprits;
  console.error(`conversations ${numbers.join(", ")} of seed ${seed}: ${failure.message}`);
  console.error(again(seed, numbers));
  const file = `conversation-${seed}-${numbers.at(-1)}.json`;
  const fixture = { showed: failure.message.split("\n")[0]!, conversations: numbers.map(recall) };
  await Deno.writeTextFile(file, formatFixture(fixture));
  console.error(`fixture: ${file}`);
}
