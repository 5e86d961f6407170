/**
 * Memory that cannot be mapped: one guest is refused with the reason, all others go on.
 *
 * @module
 */
import { ok, rejects } from "node:assert/strict";
import { OsError } from "../../ffi/errno.ts";
import { Fd } from "../../ffi/fd.ts";
import { libc } from "../../ffi/libc.ts";
import { RequestRefused } from "../../src/vhost_user/errors.ts";
import { BareFrontend } from "../support/bare_frontend.ts";
import { findProgram } from "../support/console_process.ts";
import { exchange, exchangeFrames } from "../support/exchange.ts";
import { parseHugePageState } from "../support/hugepages.ts";
import { Labswitch } from "../support/labswitch.ts";
import { TestGuest } from "../support/test_guest.ts";
import { testWith } from "../support/test_with.ts";

const PORTS = ["a", "b", "c", "d", "e", "f", "g", "h"];
const TOPOLOGY = `version: 1
ports:
${PORTS.map((name) => `  ${name}: { type: vhost-user, socket: ${name}.sock }\n`).join("")}`;
/**
 * Addresses that the switch may have: Deno takes about 35 GiB before it runs and V8 wants 16 GiB for
 * each port, so there is room for some of the eight.
 */
const ADDRESS_GIB = 80;
/** linux/memfd.h: a file of huge pages. */
const MFD_HUGETLB = 4;
const noPrlimit = () => findProgram("prlimit") === undefined ? "prlimit" : undefined;

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-limits-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A memory file of more huge pages than this machine has: mapping it fails. */
function hugeFile(): Fd {
  const { free, pageSizeKib } = parseHugePageState(Deno.readTextFileSync("/proc/meminfo"));
  const bytes = (free + 1024) * pageSizeKib * 1024;
  const name = new TextEncoder().encode("labswitch-test-huge\0");
  const file = Fd.adopt(libc().memfd_create(name, MFD_HUGETLB));
  if (libc().ftruncate(file.number, BigInt(bytes)) !== 0) throw new OsError("size a huge file");
  return file;
}

Deno.test("Switch refuses guest memory that cannot be mapped, and all others go on (X17, F47)", () =>
  inFolder(async (folder) => {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    {
      await using a = await TestGuest.attach(lab.port("a").socket);
      await using b = await TestGuest.attach(lab.port("b").socket);
      await exchangeFrames(a, b);
      using file = hugeFile();
      const { socket } = lab.port("c");
      await rejects(BareFrontend.attach(socket, file), RequestRefused);
      await lab.awaitLine(/ c {2}refused SET_MEM_TABLE {2}.*(too little|out of) memory/);
      await exchangeFrames(a, b);
    }
    await exchange(lab.port("c").socket, lab.port("a").socket);
    await lab.stop();
  }));

testWith(
  noPrlimit,
  "Switch without addresses for all its ports refuses the guests of some, and serves the others (X17)",
  () =>
    inFolder(async (folder) => {
      const through = ["prlimit", `--as=${ADDRESS_GIB * 2 ** 30}`];
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY, through });
      const served: TestGuest[] = [];
      const refused: string[] = [];
      await using guests = new AsyncDisposableStack();
      for (const name of PORTS) {
        try {
          served.push(guests.use(await TestGuest.attach(lab.port(name).socket)));
        } catch (error) {
          if (!(error instanceof RequestRefused)) throw error;
          refused.push(name);
        }
      }
      ok(served.length >= 2 && refused.length > 0, `refused: ${refused}`);
      for (const name of refused) {
        await lab.awaitLine(
          new RegExp(
            ` ${name} {2}refused SET_MEM_TABLE {2}no addresses are left .* ulimit -v$`,
            "m",
          ),
        );
      }
      await exchangeFrames(served[0]!, served[1]!);
      await guests.disposeAsync();
      await lab.stop();
    }),
);
