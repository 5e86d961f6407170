/**
 * `deno task survival:versus`: the same bad input against labswitch and against OVS-DPDK, row by row.
 *
 * Each target is a process that is attacked on one port while two others exchange frames. What does not
 * survive is started anew and attacked once more before that is said of it, because the machine may be
 * busy. It exits with 0 only if labswitch survives everything.
 *
 * @module
 */
import { Command } from "commander";
import { type DpdkMemory, reserveDpdkMemory } from "../support/hugepages.ts";
import { OVS_MEMORY_MIB } from "../support/ovs.ts";
import { Arena } from "./versus/arena.ts";
import type { Input } from "./versus/input.ts";
import { INPUTS } from "./versus/inputs/all.ts";
import { calmer, type Column, tableJson, tableText } from "./versus/report.ts";
import { type Target, TARGETS } from "./versus/target.ts";
import type { Judgement } from "./versus/verdict.ts";

interface Options {
  readonly only: readonly string[];
  readonly target: readonly string[];
  readonly json?: true;
  readonly log?: true;
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
    table.push({
      title: target.title,
      judgements: await judgeAll(target, inputs, memory, options),
    });
  }
  console.log(options.json ? tableJson(inputs, table) : tableText(inputs, table));
  // What others do is their affair.
  const ours = table.find(({ title }) => title === TARGETS[0]!.title)?.judgements ?? [];
  return ours.every(({ verdict }) => verdict === "survived") ? 0 : 1;
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

function split(text: string): string[] {
  return text.split(",");
}
