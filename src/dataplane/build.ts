/**
 * Builds the data plane: AssemblyScript and accessors to two WebAssembly modules.
 *
 * AssemblyScript knows one 32-bit memory, the state memory. Guest memory is reached through imported
 * accessors; they are written as WebAssembly text with 64-bit memories, merged into the module and
 * inlined away. The result is committed, so users need no compiler.
 *
 * `deno task build` writes the modules; `deno task build --check` only compares them with a fresh
 * build and exits 1 when a byte differs.
 *
 * @module
 */
import asc from "assemblyscript/asc";
import binaryen from "binaryen";
import { Buffer } from "node:buffer";
import { resolve } from "node:path";
import { STATE_PAGES } from "./state.ts";

interface ModuleSource {
  /** The module's name: the built file, and the entry file in `assembly/` unless that is named. */
  readonly name: string;
  /** The entry file in `assembly/`. */
  readonly entry?: string;
  /** Another file of `assembly/` that is compiled in the place of `virtqueue.ts`. */
  readonly virtqueue?: string;
  /**
   * The accessor text in `assembly/`, and the module name it is imported under; a module without is
   * text itself.
   */
  readonly accessors?: string;
}

const MODULES: readonly ModuleSource[] = [
  { name: "ring", accessors: "guest" },
  { name: "driver", entry: "ring", virtqueue: "driver_virtqueue", accessors: "guest" },
  { name: "copy", accessors: "transfer" },
  { name: "dispatch" },
];
const HERE = import.meta.dirname!;

if (import.meta.main) {
  const isCheck = Deno.args.includes("--check");
  let differs = false;
  for (const source of MODULES) {
    const built = await build(source);
    const path = `${HERE}/${source.name}.wasm`;
    if (!isCheck) {
      await Deno.writeFile(path, built);
      console.log(`${source.name}.wasm  ${built.length} bytes`);
    } else if (Buffer.compare(built, await Deno.readFile(path)) !== 0) {
      console.error(`${source.name}.wasm is not what its sources build: run deno task build`);
      differs = true;
    }
  }
  if (differs) Deno.exit(1);
}

async function build(source: ModuleSource): Promise<Uint8Array> {
  const { name, accessors } = source;
  if (accessors === undefined) return await assemble(name);
  const folder = await Deno.makeTempDir({ prefix: "labswitch-build-" });
  try {
    await compile(source, `${folder}/main.wasm`);
    await Deno.writeFile(`${folder}/accessors.wasm`, await assemble(accessors));
    await merge(folder, accessors);
    return optimise(await Deno.readFile(`${folder}/merged.wasm`), accessors);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function compile(source: ModuleSource, output: string): Promise<void> {
  const { name, entry = name, virtqueue = "virtqueue" } = source;
  const { error, stderr } = await asc.main([
    `${HERE}/assembly/${entry}.ts`,
    ...["--outFile", output, "--runtime", "stub", "--noAssert", "-O3", "--converge"],
    ...["--importMemory", "--sharedMemory", "--enable", "threads,simd,bulk-memory"],
    ...["--initialMemory", `${STATE_PAGES}`, "--maximumMemory", `${STATE_PAGES}`],
  ], {
    readFile: (file, base) =>
      readText(resolve(base, file.replace(/\/virtqueue\.ts$/, `/${virtqueue}.ts`))),
  });
  if (error !== null) throw new Error(`Cannot compile ${name}.ts: ${stderr}`);
}

// Null for a file that is not there: the compiler tries several names.
async function readText(path: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function assemble(name: string): Promise<Uint8Array> {
  const module = binaryen.parseText(await Deno.readTextFile(`${HERE}/assembly/${name}.wat`));
  module.setFeatures(binaryen.Features.All);
  const built = module.emitBinary();
  module.dispose();
  return built;
}

// wasm-merge exists only as a command of the package, written for CommonJS.
async function merge(folder: string, accessors: string): Promise<void> {
  const script = `${folder}/wasm-merge.cjs`;
  const tool = new URL("./bin/wasm-merge", import.meta.resolve("binaryen"));
  await Deno.copyFile(tool, script);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--allow-all", "--no-config", script, "--all-features"],
      ...[`${folder}/main.wasm`, "main", `${folder}/accessors.wasm`, accessors],
      ...["-o", `${folder}/merged.wasm`],
    ],
  }).output();
  if (!success) throw new Error(`Cannot merge: ${new TextDecoder().decode(stderr)}`);
}

function optimise(bytes: Uint8Array, accessors: string): Uint8Array {
  const module = binaryen.readBinary(bytes);
  module.setFeatures(binaryen.Features.All);
  const text = Deno.readTextFileSync(`${HERE}/assembly/${accessors}.wat`);
  for (const [, name] of text.matchAll(/\(export "(\w+)"\)/g)) module.removeExport(name!);
  binaryen.setOptimizeLevel(3);
  binaryen.setShrinkLevel(0);
  // The functions of the hot path are small and few: calls between them cost more than their code.
  binaryen.setAlwaysInlineMaxSize(40);
  binaryen.setFlexibleInlineMaxSize(120);
  binaryen.setOneCallerInlineMaxSize(2000);
  module.optimize();
  module.optimize();
  const built = module.emitBinary();
  module.dispose();
  return built;
}
