/**
 * What happens to the paths of its sockets while a switch runs: it goes on with the guests that it has,
 * can be stopped, and touches nothing that is not its own.
 *
 * @module
 */
import { match, rejects, strictEqual, throws } from "node:assert/strict";
import { join } from "node:path";
import { OsError } from "../../ffi/errno.ts";
import { connectUnix, MAX_PATH_BYTES } from "../../ffi/unix_socket.ts";
import { exchange, exchangeFrames } from "../support/exchange.ts";
import { Labswitch } from "../support/labswitch.ts";
import { TestGuest } from "../support/test_guest.ts";

const TOPOLOGY = `version: 1
ports:
  a: { type: vhost-user, socket: sockets/a.sock }
  b: { type: vhost-user, socket: sockets/b.sock }
`;

/** A running switch, the folder of its sockets, and its two guests. */
interface Stage {
  readonly lab: Labswitch;
  readonly sockets: string;
  /** Proves that the guests still reach each other. */
  readonly talk: () => Promise<void>;
}

/** Declares a test that does something to the sockets' paths while two guests are attached. */
function testPaths(name: string, test: (stage: Stage) => Promise<void>): void {
  Deno.test(name, () =>
    inFolder(async (folder) => {
      const sockets = join(folder, "sockets");
      await Deno.mkdir(sockets);
      await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
      {
        await using a = await TestGuest.attach(lab.port("a").socket);
        await using b = await TestGuest.attach(lab.port("b").socket);
        await exchangeFrames(a, b);
        await test({ lab, sockets, talk: () => exchangeFrames(a, b) });
        await exchangeFrames(a, b);
      }
      await lab.stop();
    }));
}

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-paths-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

testPaths("Switch goes on with its guests when its sockets are removed (X27)", async (stage) => {
  const { lab, talk } = stage;
  for (const name of ["a", "b"]) await Deno.remove(lab.port(name).socket);
  await talk();
  throws(
    () => connectUnix(lab.port("a").socket),
    (error: unknown) => error instanceof OsError && error.code === "ENOENT",
  );
});

testPaths(
  "Switch goes on with its guests when the folder of its sockets is removed (X27)",
  (stage) => Deno.remove(stage.sockets, { recursive: true }),
);

Deno.test("Switch leaves a file alone that has taken the place of its socket (X27)", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(join(folder, "sockets"));
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    const { socket } = lab.port("a");
    await Deno.remove(socket);
    await Deno.writeTextFile(socket, "precious");
    await lab.stop();
    strictEqual(await Deno.readTextFile(socket), "precious");
    await rejects(Deno.lstat(lab.port("b").socket), Deno.errors.NotFound);
  }));

Deno.test("Switch leaves the sockets of the next one alone that has taken their place (X27)", () =>
  inFolder(async (folder) => {
    const sockets = join(folder, "sockets");
    await Deno.mkdir(sockets);
    await using first = await Labswitch.start({ folder, topology: TOPOLOGY });
    await Deno.rename(sockets, join(folder, "elsewhere"));
    await Deno.mkdir(sockets);
    await using second = await Labswitch.start({ folder, topology: TOPOLOGY });
    await first.stop();
    await exchange(second.port("a").socket, second.port("b").socket);
    await second.stop();
  }));

Deno.test("run refuses a socket's path of more than 107 bytes and says so (X27)", () =>
  inFolder(async (folder) => {
    const name = "x".repeat(MAX_PATH_BYTES + 1 - folder.length - 1);
    const start = (topology: string) => Labswitch.start({ folder, topology });
    const topology = (name: string) =>
      TOPOLOGY.replace("sockets/a.sock", name)
        .replace("sockets/b.sock", "b.sock");
    const error = await start(topology(name)).then(() => null, (error: Error) => error);
    match(error!.message, /topology\.yaml:3:\d+: error: the socket's path has 108 bytes/);
    await using lab = await start(topology(name.slice(1)));
    await exchange(lab.port("a").socket, lab.port("b").socket);
  }));
