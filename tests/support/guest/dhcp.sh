#!/bin/busybox sh
# What busybox's DHCP client calls with what it was told: it configures the address, and keeps all that
# it heard for tests to look at.
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route replace default via "$router"
echo "ip=$ip mask=$mask router=$router server=$serverid lease=$lease" >/tmp/lease
