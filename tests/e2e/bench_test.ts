/**
 * `labswitch bench` with a switch of its own, over real sockets, for a short time.
 *
 * @module
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { main } from "../../src/cli/main.ts";
import { MemoryIo } from "../unit/cli/memory_io.ts";

interface Outcome {
  readonly code: number;
  readonly io: MemoryIo;
}

async function bench(args: string, isTerminal = false): Promise<Outcome> {
  const io = new MemoryIo(isTerminal);
  const code = await main(["bench", ...args.split(" ")], io);
  return { code, io };
}

for (const ring of ["", " --packed"]) {
  Deno.test(`bench finds no fault with labswitch in the closed loop${ring}`, async () => {
    const { code, io } = await bench(`--seconds 0.2 --rounds 2 --sizes 64,1514 --json${ring}`);
    strictEqual(code, 0, io.stderr + io.stdout);
    const report = JSON.parse(io.stdout);
    deepStrictEqual([report.mode, report.window, report.isComplete, report.isClean], [
      ...["closed loop", 128, true, true],
    ]);
    ok(report.versions.labswitch && report.versions.deno);
    for (const { rounds, median } of report.sizes) {
      strictEqual(rounds.length, 2);
      for (const { sent, lost } of rounds) ok(sent > 0 && lost === 0);
      ok(median.mpps > 0 && median.gbps > 0);
    }
    deepStrictEqual(report.sizes.map((size: { frameBytes: number }) => size.frameBytes), [
      64,
      1514,
    ]);
  });
}

Deno.test("bench measures latency at a rate", async () => {
  const { code, io } = await bench(
    "--seconds 0.2 --rounds 1 --sizes 64 --rate 10k --flows 4 --json",
  );
  strictEqual(code, 0, io.stderr);
  const { mode, ratePps, sizes } = JSON.parse(io.stdout);
  deepStrictEqual([mode, ratePps], ["open loop", 10_000]);
  const [{ sent, unsent, latency }] = sizes[0].rounds;
  strictEqual(sent + unsent, 2001);
  const { p50Ns, p99Ns, p999Ns, maxNs } = latency;
  ok(0 < p50Ns && p50Ns <= p99Ns && p99Ns <= p999Ns && p999Ns <= maxNs, JSON.stringify(latency));
});

Deno.test("bench shows its progress in one line of a terminal, and then a table", async () => {
  const { io } = await bench("--seconds 0.5 --rounds 1 --sizes 64", true);
  match(io.stdout, /closed loop, 128 frames .*\n\n +FRAME .*\n +64 B .*\n$/);
  // deno-lint-ignore no-control-regex -- a terminal is told to clear the line
  match(io.stderr, /^(\r\x1b\[Krun 1\/1  64 B  [\d.]+ Mpps)+\r\x1b\[K$/);
});

Deno.test("bench shows no progress where no terminal is", async () => {
  const { io } = await bench("--seconds 0.3 --rounds 1 --sizes 64");
  strictEqual(io.stderr, "");
});

Deno.test("bench says in one line that nobody listens", async () => {
  const { code, io } = await bench("--socket /nowhere/a.sock --socket /nowhere/b.sock --json");
  strictEqual(code, 1);
  strictEqual(io.stdout, "");
  match(io.stderr, /^error: Cannot connect to \/nowhere\/a\.sock: .*; start the switch .*\n$/);
});
