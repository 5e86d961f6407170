/**
 * The table of two targets beside each other, and the choice between two judgements of one input.
 *
 * @module
 */
import { columns } from "../../../src/cli/columns.ts";
import { CATALOGUE } from "../catalogue.ts";
import type { Input } from "./input.ts";
import { type Judgement, type Verdict, VERDICTS } from "./verdict.ts";

/** What the inputs did to a target, in the inputs' order. */
export interface Column {
  /** The target's name in the table. */
  readonly title: string;
  /** One for each input. */
  readonly judgements: readonly Judgement[];
}

/** An input as the table names it. */
type Named = Pick<Input, "id" | "variant">;

/** The better of two judgements of the same input; the other one is noted. */
export function calmer(first: Judgement, second: Judgement): Judgement {
  if (first.verdict === second.verdict) return second;
  const isFirst = rank(first.verdict) > rank(second.verdict);
  const [better, worse] = isFirst ? [first, second] : [second, first];
  const once = `once ${worse.verdict}: ${worse.notes.join("; ")}`;
  return { ...better, notes: [...better.notes, once] };
}

/** The table, then how many inputs and how many rows came to each verdict. */
export function tableText(inputs: readonly Named[], table: readonly Column[]): string {
  const titles = table.map(({ title }) => title);
  const rows = inputs.map((input, i) => [
    input.id,
    whatOf(input),
    ...table.map(({ judgements }) => judgements[i]!.verdict),
  ]);
  const numbers = [1, ...table.map((_, i) => i + 2)];
  return [
    ...columns([["id", "what", ...titles], ...rows]),
    "",
    ...columns(
      [["inputs", ...titles], ...totals(table.map(({ judgements }) => judgements))],
      numbers,
    ),
    "",
    ...columns(
      [["rows", ...titles], ...totals(table.map((column) => worst(inputs, column)))],
      numbers,
    ),
  ].join("\n");
}

/** The same with all notes, for programs. */
export function tableJson(inputs: readonly Named[], table: readonly Column[]): string {
  const rows = inputs.map((input, i) => ({
    id: input.id,
    what: whatOf(input),
    ...Object.fromEntries(table.map(({ title, judgements }) => [title, judgements[i]])),
  }));
  return JSON.stringify(rows, null, 2);
}

/** What the catalogue says, and what distinguishes the input from others of its row. */
export function whatOf({ id, variant }: Named): string {
  const what = CATALOGUE.find((row) => row.id === id)?.what ?? "?";
  return variant === "" ? what : `${what}: ${variant}`;
}

/** The worst judgement of each row. */
function worst(inputs: readonly Named[], { judgements }: Column): Judgement[] {
  const ofRow = Map.groupBy(judgements.keys(), (i) => inputs[i]!.id);
  return [...ofRow.values()].map((indexes) =>
    indexes.map((i) => judgements[i]!)
      .reduce((a, b) => rank(b.verdict) < rank(a.verdict) ? b : a)
  );
}

function totals(all: readonly (readonly Judgement[])[]): string[][] {
  const counts = VERDICTS.toReversed().map((verdict) => [
    verdict as string,
    ...all.map((judgements) => String(judgements.filter((one) => one.verdict === verdict).length)),
  ]);
  return [...counts, ["all", ...all.map((judgements) => String(judgements.length))]];
}

function rank(verdict: Verdict): number {
  return VERDICTS.indexOf(verdict);
}
