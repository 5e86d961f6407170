;; One entry for each function of the data plane, whichever instance it is called on.
;;
;; Every port has its own instance of the ring code, every pair of ports one of the copying code. A
;; call from JavaScript that meets many functions in one place is slow; one that always meets the same
;; is not, and neither is a call from WebAssembly through a table. So the loop calls these five.
(module
  (type $two (func (param i32 i32) (result i32)))
  (type $three (func (param i32 i32 i32) (result i32)))
  (type $one (func (param i32)))

  ;; By port number; see MAX_PORTS.
  (table $receive (export "receivers") 256 256 funcref)
  (table $complete (export "completers") 256 256 funcref)
  (table $reserve (export "reservers") 256 256 funcref)
  (table $publish (export "publishers") 256 256 funcref)
  ;; In the order in which pairs of ports first exchange a frame.
  (table $copy (export "copiers") 0 65536 funcref)

  (func (export "receive") (param $port i32) (param $worker i32) (param $ring i32) (result i32)
    (call_indirect $receive (type $two)
      (local.get $worker) (local.get $ring) (local.get $port)))
  (func (export "complete") (param $port i32) (param $worker i32) (param $ring i32) (result i32)
    (call_indirect $complete (type $two)
      (local.get $worker) (local.get $ring) (local.get $port)))
  (func (export "reserve") (param $port i32) (param $worker i32) (param $pair i32) (result i32)
    (call_indirect $reserve (type $three)
      (local.get $worker) (local.get $port) (local.get $pair) (local.get $port)))
  (func (export "publish") (param $port i32) (param $worker i32) (result i32)
    (call_indirect $publish (type $two)
      (local.get $worker) (local.get $port) (local.get $port)))
  (func (export "copyPlaced") (param $copier i32) (param $worker i32)
    (call_indirect $copy (type $one)
      (local.get $worker) (local.get $copier))))
