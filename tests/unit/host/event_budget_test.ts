import { strictEqual } from "node:assert/strict";
import { EventBudget } from "../../../src/host/event_budget.ts";

/** How many of a thousand events may be reported at a time. */
function granted(budget: EventBudget, now: number): number {
  let count = 0;
  for (let i = 0; i < 1000; i++) if (budget.take(now)) count++;
  return count;
}

Deno.test("EventBudget lets a burst pass, and as many again a second later", () => {
  const budget = new EventBudget();
  strictEqual(granted(budget, 0), 32);
  strictEqual(granted(budget, 999), 0);
  strictEqual(granted(budget, 1000), 32);
});
