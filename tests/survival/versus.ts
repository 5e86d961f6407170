/**
 * `deno task survival:versus`: the same bad input against labswitch and against OVS-DPDK, row by row.
 *
 * Each target is a process that is attacked on one port while two others exchange frames. What does not
 * survive is started anew and attacked once more before that is said of it, because the machine may be
 * busy.
 *
 * @module
 */
import { Command } from "commander";
import { columns } from "../../src/cli/columns.ts";
import { type DpdkMemory, reserveDpdkMemory } from "../support/hugepages.ts";
import { OVS_MEMORY_MIB } from "../support/ovs.ts";
import { CATALOGUE } from "./catalogue.ts";
import { Arena, type Judgement, VERDICTS } from "./versus/arena.ts";
import type { Input } from "./versus/input.ts";
import { INPUTS } from "./versus/inputs/all.ts";
import { type Target, TARGETS } from "./versus/target.ts";

interface Options {
  readonly only: readonly string[];
  readonly target: readonly string[];
  readonly json?: true;
  readonly log?: true;
}

/** What the inputs did to a target. */
interface Column {
  readonly target: Target;
  readonly judgements: readonly Judgement[];
}

/** How much of a dead target's last output is shown, in characters. */
const LOG_LENGTH = 2000;

if (import.meta.main) {
  const program = new Command("survival:versus")
    .description("The same bad input against labswitch and OVS-DPDK")
    .option("--only <ids>", "only rows whose ids begin so: F, or G1,F04", split, ["G", "F"])
    .option("--target <names>", "labswitch, ovs or both", split, TARGETS.map(({ name }) => name))
    .option("--json", "print JSON instead of a table")
    .option("--log", "show the last output of a target that does not survive");
  Deno.exit(await run(program.parse(Deno.args, { from: "user" }).opts<Options>()));
}

async function run(options: Options): Promise<number> {
  const inputs = INPUTS.filter(({ id }) => options.only.some((begin) => id.startsWith(begin)));
  const targets = TARGETS.filter(({ name }) => options.target.includes(name)).filter((target) => {
    const missing = target.missing();
    if (missing !== undefined) console.error(`Without ${target.title}: ${missing} not found`);
    return missing === undefined;
  });
  using memory = reserveDpdkMemory(OVS_MEMORY_MIB);
  const table: Column[] = [];
  for (const target of targets) {
    table.push({ target, judgements: await judgeAll(target, inputs, memory, options) });
  }
  console.log(options.json ? json(inputs, table) : text(inputs, table));
  return 0;
}

async function judgeAll(
  target: Target,
  inputs: readonly Input[],
  memory: DpdkMemory,
  options: Options,
): Promise<Judgement[]> {
  const judgements: Judgement[] = [];
  let arena: Arena | null = null;
  try {
    for (const input of inputs) {
      arena ??= await Arena.open(target, memory);
      let judgement = await arena.judge(input);
      if (judgement.verdict !== "survived") {
        await arena[Symbol.asyncDispose]();
        arena = await Arena.open(target, memory);
        judgement = calmer(judgement, await arena.judge(input));
      }
      judgements.push(judgement);
      const { verdict, notes } = judgement;
      console.error(`${target.title}  ${input.id}  ${verdict}  ${notes.join("; ")}`);
      if (verdict === "survived") continue;
      if (options.log) console.error(arena.output.slice(-LOG_LENGTH));
      await arena[Symbol.asyncDispose]();
      arena = null;
    }
    return judgements;
  } finally {
    await arena?.[Symbol.asyncDispose]();
  }
}

/** The better of two judgements of the same input; the other one is noted. */
function calmer(first: Judgement, second: Judgement): Judgement {
  if (first.verdict === second.verdict) return second;
  const isFirst = VERDICTS.indexOf(first.verdict) > VERDICTS.indexOf(second.verdict);
  const [better, worse] = isFirst ? [first, second] : [second, first];
  return {
    ...better,
    notes: [...better.notes, `once ${worse.verdict}: ${worse.notes.join("; ")}`],
  };
}

function text(inputs: readonly Input[], table: readonly Column[]): string {
  const heading = ["id", "what", ...table.map(({ target }) => target.title)];
  const rows = inputs.map((input, i) => [
    input.id,
    whatOf(input),
    ...table.map(({ judgements }) => judgements[i]!.verdict),
  ]);
  const totals = VERDICTS.toReversed().map((verdict) => [
    verdict,
    ...table.map(({ judgements }) => String(count(judgements, verdict))),
  ]);
  return [
    ...columns([heading, ...rows]),
    "",
    ...columns([["inputs", ...table.map(() => String(inputs.length))], ...totals], [1, 2]),
  ].join("\n");
}

function json(inputs: readonly Input[], table: readonly Column[]): string {
  const rows = inputs.map((input, i) => ({
    id: input.id,
    what: whatOf(input),
    ...Object.fromEntries(table.map(({ target, judgements }) => [target.name, judgements[i]])),
  }));
  return JSON.stringify(rows, null, 2);
}

function count(judgements: readonly Judgement[], verdict: Judgement["verdict"]): number {
  return judgements.filter((judgement) => judgement.verdict === verdict).length;
}

function whatOf({ id, variant }: Input): string {
  const what = CATALOGUE.find((row) => row.id === id)?.what ?? "?";
  return variant === "" ? what : `${what}: ${variant}`;
}

function split(text: string): string[] {
  return text.split(",");
}
