/**
 * C structs declared once: a list of fields gives offsets for the data plane and whole-value
 * `read`/`write` for the control plane.
 *
 * Byte order belongs to the field's type (`u16le`, `u16be`), never to the call site: a `DataView`
 * call without its byte order means big-endian and is the classic slip. This folder is the only
 * place of the project that calls multi-byte `DataView` accessors directly.
 *
 * @module
 */

/** One fixed-size field: how many bytes, which alignment, how to read and write it. */
export interface Field<T> {
  /** Bytes. */
  readonly size: number;
  /** Bytes, a power of two. */
  readonly align: number;
  /** Reads the value whose first byte is at `at`. */
  get(view: DataView, at: number): T;
  /** Writes the value with its first byte at `at`. */
  set(view: DataView, at: number, value: T): void;
}

/** The fields of a struct in the order of the C declaration. */
// deno-lint-ignore no-explicit-any -- each field has its own value type; `any` is the only common one.
export type Fields = Readonly<Record<string, Field<any>>>;

/** The plain object that a layout reads and writes. */
export type Value<F extends Fields> = {
  [K in keyof F]: F[K] extends Field<infer T> ? T : never;
};

/** A C struct described once. It is itself a field, so structs nest. */
export interface Layout<F extends Fields> extends Field<Value<F>> {
  /** The name in C. */
  readonly name: string;
  /** Bytes from the start of the struct to each field. */
  readonly offset: { readonly [K in keyof F]: number };
  /** Reads the whole struct. Allocates: control plane only. */
  read(view: DataView, at?: number): Value<F>;
  /** Writes the whole struct. */
  write(view: DataView, at: number, value: Value<F>): void;
}

/** How a struct is laid out. */
export interface StructOptions {
  /** No padding between fields and none at the end (`__attribute__((packed))`). */
  readonly packed?: boolean;
}

/** Unsigned 8-bit integer. */
export const u8: Field<number> = {
  size: 1,
  align: 1,
  get: (view, at) => view.getUint8(at),
  set: (view, at, value) => view.setUint8(at, value),
};

/** Unsigned 16-bit integer, little-endian. */
export const u16le: Field<number> = {
  size: 2,
  align: 2,
  get: (view, at) => view.getUint16(at, true),
  set: (view, at, value) => view.setUint16(at, value, true),
};

/** Unsigned 16-bit integer, big-endian (network order). */
export const u16be: Field<number> = {
  size: 2,
  align: 2,
  get: (view, at) => view.getUint16(at, false),
  set: (view, at, value) => view.setUint16(at, value, false),
};

/** Unsigned 32-bit integer, little-endian. */
export const u32le: Field<number> = {
  size: 4,
  align: 4,
  get: (view, at) => view.getUint32(at, true),
  set: (view, at, value) => view.setUint32(at, value, true),
};

/** Unsigned 32-bit integer, big-endian (network order). */
export const u32be: Field<number> = {
  size: 4,
  align: 4,
  get: (view, at) => view.getUint32(at, false),
  set: (view, at, value) => view.setUint32(at, value, false),
};

/** Signed 32-bit integer, little-endian. */
export const i32le: Field<number> = {
  size: 4,
  align: 4,
  get: (view, at) => view.getInt32(at, true),
  set: (view, at, value) => view.setInt32(at, value, true),
};

/** Unsigned 64-bit integer, little-endian. */
export const u64le: Field<bigint> = {
  size: 8,
  align: 8,
  get: (view, at) => view.getBigUint64(at, true),
  set: (view, at, value) => view.setBigUint64(at, value, true),
};

/**
 * A fixed number of bytes.
 *
 * @param length Bytes.
 * @returns A field that reads a copy and writes at most `length` bytes, the rest zero.
 */
export function bytes(length: number): Field<Uint8Array> {
  return {
    size: length,
    align: 1,
    get: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, length).slice(),
    set: (view, at, value) => {
      if (value.length > length) {
        throw new RangeError(`Cannot write field: ${value.length} bytes do not fit into ${length}`);
      }
      const target = new Uint8Array(view.buffer, view.byteOffset + at, length);
      target.fill(0);
      target.set(value);
    },
  };
}

/**
 * Declares a C struct.
 *
 * @param name The name in C, for messages and for the check against the C headers.
 * @param size Bytes including tail padding, as a literal taken from the specification or header.
 * @param fields The fields in the order of the C declaration.
 * @param options Whether the struct is packed.
 * @returns The layout: offsets, size, and whole-value access.
 * @throws {RangeError} When the fields do not add up to `size`, so a wrong list cannot be imported.
 */
export function struct<F extends Fields>(
  name: string,
  size: number,
  fields: F,
  options: StructOptions = {},
): Layout<F> {
  const offset = {} as { [K in keyof F]: number };
  let end = 0;
  let align = 1;
  for (const key of Object.keys(fields) as (keyof F)[]) {
    const field = fields[key]!;
    if (!options.packed) {
      end = roundUp(end, field.align);
      align = Math.max(align, field.align);
    }
    offset[key] = end;
    end += field.size;
  }
  const total = roundUp(end, align);
  if (total !== size) {
    throw new RangeError(
      `Cannot declare ${name}: its fields take ${total} bytes, expected ${size}`,
    );
  }
  const keys = Object.keys(fields) as (keyof F)[];
  const read = (view: DataView, at = 0): Value<F> => {
    const value = {} as Value<F>;
    for (const key of keys) value[key] = fields[key]!.get(view, at + offset[key]);
    return value;
  };
  const write = (view: DataView, at: number, value: Value<F>): void => {
    for (const key of keys) fields[key]!.set(view, at + offset[key], value[key]);
  };
  return { name, size, align, offset, read, write, get: read, set: write };
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
