/**
 * What a switch costs when nobody talks.
 *
 * @module
 */
import { ok, strictEqual } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { Nic } from "../../src/host/nic.ts";
import { Labswitch } from "../support/labswitch.ts";

const PORTS = 16;
const HOSTS = 50;
const SECONDS = 10;

Deno.test("labswitch uses less than 1 % of a core with 16 connected, silent ports", async () => {
  const names = Array.from({ length: PORTS }, (_, i) => `vm${i + 1}`);
  const ports = names.map((name) => `${name}: { type: vhost-user, socket: ${name}.sock }`);
  await inLab(ports, async (lab) => {
    using nics = new DisposableStack();
    for (const name of names) nics.use(Nic.connect(lab.port(name).socket));
    for (const name of names) await lab.awaitLine(new RegExp(`${name}  up`));
    await expectSilence(lab, `${PORTS} silent ports`, 0.01);
  });
});

Deno.test("labswitch uses less than 2 % of a core with 50 silent host ports", async () => {
  const ports = Array.from({ length: HOSTS }, (_, i) => {
    return `h${i}: { type: host, address: 10.0.0.${i + 1}/24 }`;
  });
  await inLab(ports, (lab) => expectSilence(lab, `${HOSTS} silent hosts`, 0.02));
});

async function inLab(
  ports: readonly string[],
  test: (lab: Labswitch) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-idle-" });
  try {
    const topology = `version: 1\nports:\n  ${ports.join("\n  ")}\n`;
    await using lab = await Labswitch.start({ folder, topology });
    await test(lab);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function expectSilence(lab: Labswitch, what: string, most: number): Promise<void> {
  strictEqual(lab.topology.threads.poll, "adaptive");
  const before = await lab.processorSeconds();
  await delay(SECONDS * 1000);
  const share = (await lab.processorSeconds() - before) / SECONDS;
  console.log(`${what}: ${(100 * share).toFixed(2)} % of a core`);
  ok(share < most, `it used ${(100 * share).toFixed(2)} % of a core`);
}
