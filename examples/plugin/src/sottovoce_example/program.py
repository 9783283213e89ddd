"""What a node of the gossip protocol runs."""

import sottovoce as sv


async def broadcast(node, learner, robust, table):
    """Run broadcast gossip at one node.

    Guarantees:
        Neighbours read the model. With noise of multiplier z on each of T updates, the node's data are protected with
        (√T / z)-GDP against any observer.
    """
    model = node.disk.get("model", learner.start)
    for round in range(node.disk.get("round", 0), table.rounds):
        await node.sleep(table.period * (0.5 + node.uniform("broadcast", round)))
        heard = {delivery.src: sv.received_model(delivery) for delivery in node.arrived()}
        share = (1.0 - table.keep) / max(1, len(heard))
        own = 1.0 - share * len(heard)
        # Before the update, so that a node that crashes never repeats its noise.
        node.disk["round"] = round + 1
        if robust is None:
            terms = [(own, model), *((share, other) for other in heard.values())]
            model = await learner.merge_update(node, round, terms)
        else:
            mixed = await robust.mix(node, round, model, own, {src: (share, m) for src, m in heard.items()})
            model = await learner.local_update(node, mixed, round)
        node.disk["model"] = model
        node.record("model", round=round + 1, value=model.params)
        sv.send_model(node, learner, node.links(round).to, round, model)
    node.record("finished", rounds=table.rounds)
