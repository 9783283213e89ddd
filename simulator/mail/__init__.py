"""Messages between nodes: sending them, mailboxes, and waiting for them.

A message has four names on its way, and each means one thing throughout the simulator:

- :class:`~simulator.contract.node.Message`: kind, round, body, size and release, as a program makes it.
- :class:`~simulator.mail.sending.Sending`: a message handed to its sender's uplink, for one receiver or several. A
  mailbox holds it as (instant of arrival, sending), a :data:`~simulator.mail.sending.Coming`.
- :class:`~simulator.network.transit.Transit`: one message for one receiver as it passes uplink, link, propagation and
  downlink; only where the network cannot compute the arrival when the message is sent.
- :class:`~simulator.contract.node.Delivery`: a message that has arrived, as its receiver sees it.

Three records beside it are no messages: a :class:`~simulator.contract.knowledge.Sighting` is what an adversary notes
of a sending, a :class:`~simulator.adversary.tampering.Forward` is its order of what is to leave instead, and a
:class:`~simulator.runtime.wire.Frame` is the bytes on a real socket.
"""
