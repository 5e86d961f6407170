/**
 * `deno task conformance`: the checks of `labswitch probe` against labswitch, against OVS-DPDK and against
 * DPDK's vhost driver, side by side.
 *
 * Each back-end is a process of its own in a temporary folder. It exits with 0 only if nothing deviates in
 * labswitch; what others do is their affair.
 *
 * @module
 */
import { Command } from "commander";
import { Interrupted, isClean } from "../../src/probe/verdict.ts";
import { type Backend, BACKENDS, labswitch } from "./backend.ts";
import { type Column, tableJson, tableText } from "./table.ts";
import { probeBackend } from "./trial.ts";

interface Options {
  readonly only: readonly string[];
  readonly json?: true;
}

/** How long a back-end may take for each answer. */
const TIMEOUT_MS = 3000;

if (import.meta.main) {
  const program = new Command("conformance")
    .description(
      "The checks of `labswitch probe` against labswitch, OVS-DPDK and DPDK's vhost driver",
    )
    .option("--only <names>", "some of labswitch,ovs,dpdk", split, BACKENDS.map(({ name }) => name))
    .option("--json", "print JSON instead of a table");
  Deno.exit(await run(program.parse(Deno.args, { from: "user" }).opts<Options>()));
}

async function run({ only, json }: Options): Promise<number> {
  const interruption = new AbortController();
  Deno.addSignalListener("SIGINT", () => interruption.abort(new Interrupted("interrupted")));
  const table: Column[] = [];
  for (const backend of BACKENDS.filter(({ name }) => only.includes(name))) {
    if (interruption.signal.aborted) break;
    table.push(await columnOf(backend, interruption.signal));
  }
  console.log((json ? tableJson(table) : tableText(table)).trimEnd());
  const ours = table.find(({ title }) => title === labswitch.title);
  return ours === undefined || isClean(ours.report?.results ?? [{ verdict: "no answer" }]) ? 0 : 1;
}

async function columnOf(
  backend: Backend,
  signal: AbortSignal,
): Promise<Column> {
  const { title } = backend;
  const missing = backend.missing();
  if (missing !== undefined) {
    console.error(`Without ${title}: ${missing} is not installed`);
    return { title, reason: `${missing} is not installed`, report: null };
  }
  console.error(`Probing ${title} …`);
  try {
    const report = await probeBackend(backend, { timeoutMs: TIMEOUT_MS, signal });
    return { title, reason: null, report };
  } catch (error) {
    return { title, reason: (error as Error).message, report: null };
  }
}

function split(text: string): string[] {
  return text.split(",");
}
