;; Accessors of the two guest memories that copying code sees (see transfer.ts).
(module
  (import "source" "memory" (memory $source i64 1 262144 shared))
  (import "destination" "memory" (memory $destination i64 1 262144 shared))

  (func (export "copy") (param $to i64) (param $from i64) (param $length i64)
    (memory.copy $destination $source
      (local.get $to) (local.get $from) (local.get $length)))
  (func (export "load8") (param $address i64) (result i32)
    (i32.load8_u $source (local.get $address)))
  (func (export "load128") (param $address i64) (result v128)
    (v128.load $source align=1 (local.get $address)))
  (func (export "store128") (param $address i64) (param $value v128)
    (v128.store $destination align=1 (local.get $address) (local.get $value)))
  (func (export "store64") (param $address i64) (param $value i64)
    (i64.store $destination align=1 (local.get $address) (local.get $value)))
  (func (export "store32") (param $address i64) (param $value i32)
    (i32.store $destination align=1 (local.get $address) (local.get $value)))
  (func (export "store16") (param $address i64) (param $value i32)
    (i32.store16 $destination align=1 (local.get $address) (local.get $value)))
  (func (export "store8") (param $address i64) (param $value i32)
    (i32.store8 $destination (local.get $address) (local.get $value)))
)
