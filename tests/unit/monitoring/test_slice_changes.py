from tasks.monitoring.slice_changes import slice_changes


def card(**scores: float) -> dict[str, object]:
    return {"slices": [{"slice": "label", "value": name, "n": 40, "estimate": {"value": value}}
                       for name, value in scores.items()]}  # fmt: skip


def test_slices_are_paired_and_the_largest_loss_comes_first() -> None:
    compared = [{"slice": "label", "value": "b", "blocks": True}, {"slice": "label", "value": "a", "blocks": False}]

    found = slice_changes(card(a=0.5, b=0.9, gone=1.0), card(a=0.7, b=0.6), compared)

    assert [(row.value, row.blocks) for row in found] == [("b", True), ("a", False)]
    assert [round(row.difference, 9) for row in found] == [-0.3, 0.2]
