import { strictEqual } from "node:assert/strict";
import { parseMebibytes, parseSeconds } from "../../../config/units.ts";

Deno.test("parseSeconds reads every unit", () => {
  strictEqual(parseSeconds("300s"), 300);
  strictEqual(parseSeconds("5m"), 300);
  strictEqual(parseSeconds("5min"), 300);
  strictEqual(parseSeconds("2h"), 7200);
  strictEqual(parseSeconds("1d"), 86_400);
  strictEqual(parseSeconds("5 min"), 300);
  strictEqual(parseSeconds("0s"), 0);
});

Deno.test("parseSeconds returns null for everything else", () => {
  const others = ["", "300", "s", "-5s", "1.5s", "5S", "5M", "5 s s", " 5s", "5s ", "1e3s", "5µs"];
  others.push("1234567890s", "5constructor", "5toString");
  for (const text of others) strictEqual(parseSeconds(text), null, JSON.stringify(text));
});

Deno.test("parseMebibytes reads every unit", () => {
  strictEqual(parseMebibytes("256M"), 256);
  strictEqual(parseMebibytes("512MiB"), 512);
  strictEqual(parseMebibytes("1G"), 1024);
  strictEqual(parseMebibytes("2 GiB"), 2048);
});

Deno.test("parseMebibytes returns null for everything else", () => {
  const others = ["", "256", "256m", "256MB", "M", "-1G", "0.5G", "1T", "1G1M", "5valueOf"];
  for (const text of others) strictEqual(parseMebibytes(text), null, JSON.stringify(text));
});
