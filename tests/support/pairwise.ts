/**
 * Covering subsets: few combinations in which every pair of values still occurs.
 *
 * @module
 */

/** Named choices, each with its possible values. */
export type Choices = Readonly<Record<string, readonly unknown[]>>;

/** One value for each choice. */
export type Combination<C extends Choices> = { readonly [K in keyof C]: C[K][number] };

/**
 * Finds combinations such that every pair of values of two choices occurs in one of them, as far as
 * the combination is possible at all.
 *
 * Greedy: it takes the combination that covers most of what is still missing, again and again. The
 * result is the same every time.
 *
 * @param choices What can be chosen; the product of all must stay in the thousands.
 * @param isPossible Whether a combination makes sense; all do unless told otherwise.
 */
export function pairwise<const C extends Choices>(
  choices: C,
  isPossible: (combination: Combination<C>) => boolean = () => true,
): Combination<C>[] {
  const candidates = product(choices).filter(isPossible)
    .map((combination) => ({ combination, pairs: pairsOf(combination) }));
  const missing = new Set(candidates.flatMap(({ pairs }) => pairs));
  const chosen: Combination<C>[] = [];
  while (missing.size > 0) {
    const gain = (pairs: readonly string[]) => pairs.filter((pair) => missing.has(pair)).length;
    const best = candidates.reduce((a, b) => gain(b.pairs) > gain(a.pairs) ? b : a);
    for (const pair of best.pairs) missing.delete(pair);
    chosen.push(best.combination);
  }
  return chosen;
}

/** All combinations. */
export function product<const C extends Choices>(choices: C): Combination<C>[] {
  let combinations: Record<string, unknown>[] = [{}];
  for (const [name, values] of Object.entries(choices)) {
    combinations = combinations.flatMap((combination) =>
      values.map((value) => ({ ...combination, [name]: value }))
    );
  }
  return combinations as Combination<C>[];
}

function pairsOf(combination: Readonly<Record<string, unknown>>): string[] {
  const entries = Object.entries(combination);
  return entries.flatMap(([a, x], i) =>
    entries.slice(i + 1).map(([b, y]) => JSON.stringify([a, x, b, y]))
  );
}
