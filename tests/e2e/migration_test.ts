/**
 * Live migration of a Linux guest from one port to another.
 *
 * @module
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { eventually } from "../support/eventually.ts";
import { Guest, type GuestOptions, missingForGuests } from "../support/guest/guest.ts";
import { migrate, type MigrationReport } from "../support/guest/migration.ts";
import { backportedQemu, installedQemu } from "../support/guest/qemu.ts";
import { compareRam } from "../support/guest/ram.ts";
import { Stream } from "../support/guest/traffic.ts";
import { Labswitch } from "../support/labswitch.ts";
import { countDescriptors, countMappings } from "../support/leaks.ts";
import { Prober } from "../support/prober.ts";
import { testWith } from "../support/test_with.ts";

const QEMUS = { installed: await installedQemu(), backported: await backportedQemu() };
const MOVER = "10.0.0.1/24";
const PEER = "10.0.0.3/24";
const PROBER = "10.0.0.4";
/** Looks for dirty pages before the guest may be stopped: at the start, after all, after the first. */
const PASSES = 3;
/** Pings in a row that an idle guest must answer. */
const PINGS = 25;
/**
 * Otherwise the guest writes zeros to each page before it gives it to the switch, and QEMU sends such a
 * page again whether the switch has logged it or not.
 */
const WRITES_LITTLE = "init_on_alloc=0";
/** Fewer pages in use would mean that the wrong memory was compared. */
const LEAST_USED_PAGES = 4096;
/** Differing pages that a failure lists. */
const LISTED_PAGES = 20;

/**
 * The first QEMU whose emulated processor notes every page that it writes. Before, a migration without
 * KVM can lose such writes, with and without a network device: QEMU forgot to ask for the note anew
 * after it had collected the notes (fixed by "physmem: Fix migration dirty bitmap coherency with TCG
 * memory access"). There memories cannot be compared, and the fewer passes the better.
 */
const NOTES_WRITES_SINCE = 9;

const JOURNEYS: readonly Pick<Journey, "qemu" | "ring" | "queues" | "announcement">[] = [
  { qemu: "backported", ring: "split", queues: 2, announcement: "guest" },
  { qemu: "backported", ring: "packed", queues: 1, announcement: "switch" },
  { qemu: "installed", ring: "split", queues: 1, announcement: "switch" },
  { qemu: "installed", ring: "packed", queues: 2, announcement: "guest" },
];

/** What one journey is made of. */
interface Journey {
  readonly qemu: keyof typeof QEMUS;
  readonly ring: "split" | "packed";
  readonly queues: number;
  /** Who says where the guest is now. */
  readonly announcement: "guest" | "switch";
}

function missing(): string | undefined {
  return missingForGuests() ??
    (QEMUS.backported === undefined ? "QEMU of the backports" : undefined);
}

for (const journey of JOURNEYS) {
  const { qemu, ring, queues, announcement } = journey;
  const words = [
    `QEMU ${QEMUS[qemu]?.version.major ?? qemu}`,
    `${ring} ring`,
    `${queues} queue pair${queues > 1 ? "s" : ""}`,
    `announced by the ${announcement}`,
  ];
  testWith(missing, `A guest migrates between ports: ${words.join(", ")} (X12)`, async (t) => {
    const folder = await Deno.makeTempDir({ prefix: "labswitch-migration-" });
    try {
      const port = (name: string) =>
        `  ${name}: { type: vhost-user, socket: ${name}.sock, queues: ${queues} }\n`;
      const topology = `version: 1\nports:\n${["a", "b", "peer", "prober"].map(port).join("")}`;
      await using lab = await Labswitch.start({ folder, topology });
      const before = held(lab);
      await travel(t, lab, folder, journey);
      await eventually(
        "the switch gives everything back",
        () => isDeepStrictEqual(held(lab), before) || null,
      );
      await lab.stop();
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

// From port a to b and back under load, and to b again without any.
async function travel(
  t: Deno.TestContext,
  lab: Labswitch,
  folder: string,
  { qemu: which, ring, queues, announcement }: Journey,
): Promise<void> {
  const qemu = QEMUS[which]!;
  const options = (name: string): GuestOptions => ({
    ...{ folder, qemu, processors: queues, address: MOVER, kernel: WRITES_LITTLE },
    // Every port has an address of its own; the guest keeps the one that it began with.
    port: { ...lab.port(name), mac: lab.port("a").mac },
    device: `packed=${isOn(ring === "packed")},guest_announce=${isOn(announcement === "guest")}`,
  });
  await using guests = new AsyncDisposableStack();
  const [mover, peer] = await Promise.all([
    Guest.start(options("a")),
    Guest.start({ folder, qemu, port: lab.port("peer"), address: PEER }),
  ]);
  guests.use(mover);
  guests.use(peer);
  const { socket, mac } = lab.port("prober");
  using prober = new Prober({ socket, mac, ip: PROBER, target: mover.ip });
  await prober.answer();
  const stream = await Stream.begin(peer, mover);
  await stream.flow(mover);

  let here = mover;
  const arrive = async (name: string, arrival: "goes on" | "stands still"): Promise<Guest> =>
    guests.use(await Guest.expect({ ...options(name), arrival }));
  const move = (to: Guest, passes?: number): Promise<MigrationReport> =>
    migrate(here, to, { folder, ...passes !== undefined && { passes } });
  // Until now its old port was there, where frames would go if its address had not moved.
  const settle = async (there: Guest): Promise<void> => {
    await here[Symbol.asyncDispose]();
    here = there;
  };
  const step = async (name: string, run: () => Promise<void>): Promise<void> => {
    if (!await t.step(name, run)) throw new Error("Cannot go on: the guest is nowhere");
  };

  if (qemu.version.major >= NOTES_WRITES_SINCE) {
    await step("Its memory agrees after passes in which the switch wrote to it", async () => {
      const there = await arrive("b", "stands still");
      const report = await move(there, PASSES);
      ok(report.passes > PASSES);
      const { pages, usedPages, differing } = await compareRam(here.pid, there.pid);
      deepStrictEqual(differing.slice(0, LISTED_PAGES), [], `${differing.length} pages differ`);
      ok(usedPages > LEAST_USED_PAGES, `only ${usedPages} of ${pages} pages are in use`);
      await there.qmp("cont");
      await prober.answer();
      await stream.flow(there);
      console.log(`${text(report)}; ${usedPages} pages in use agree`);
      await settle(there);
    });
  }
  const ports = here === mover ? ["b", "a"] as const : ["a", "b"] as const;
  await step("It moves under load, and its TCP connection survives unharmed", async () => {
    const there = await arrive(ports[0], "goes on");
    const start = Date.now();
    const report = await move(there);
    await prober.answer();
    await stream.flow(there);
    await stream.end(there);
    console.log(`${text(report)}; ${gap(prober, start)}`);
    await settle(there);
  });
  await step("It is found at its new port as soon as it was announced", async () => {
    const there = await arrive(ports[1], "goes on");
    const start = Date.now();
    const from = lab.output.length;
    const report = await move(there);
    const { kind, atMs } = await prober.announcement(report.stoppedAtMs);
    strictEqual(kind, announcement === "guest" ? "arp" : "rarp");
    await lab.awaitLine(new RegExp(` ${ports[1]} {2}up `), from);
    await prober.answers(PINGS);
    const announced = `announced ${(atMs - report.stoppedAtMs).toFixed(0)} ms after its stop`;
    console.log(`${text(report)}; ${announced}; ${gap(prober, start)}`);
    await settle(there);
  });
}

function isOn(condition: boolean): "on" | "off" {
  return condition ? "on" : "off";
}

// What the switch holds of its guests.
function held({ pid }: Labswitch): { descriptors: number; mappings: number } {
  return { descriptors: countDescriptors(pid), mappings: countMappings(pid, "memfd:") };
}

function text({ passes, pages, resentPages, totalMs, downtimeMs }: MigrationReport): string {
  return `${passes} passes over ${pages} pages, ${resentPages} of them again, in ${totalMs} ms; ` +
    `stopped for ${downtimeMs} ms`;
}

function gap(prober: Prober, start: number): string {
  const { gapMs, lost } = prober.outage(start);
  return `no answer for ${gapMs.toFixed(0)} ms, ${lost} pings lost`;
}
