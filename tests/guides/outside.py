"""A guide from outside the library, in a few lines."""

from prorl.config.section import Settings
from prorl.guide import GuideEntry


class OneItem:
    """Shows the same item `n` times, then stops."""

    def __init__(self, settings, context):
        self.n_items = len(context.data.titles)
        self.n, self.item, self.max_length = settings.n, settings.item, context.decoding.max_length

    def paths(self, prompts):
        path = prompts.target.new_zeros(len(prompts), self.max_length)
        path[:, : self.n] = self.item
        return path


class OneItemSettings(Settings):
    item: int
    n: int


ONE_ITEM = GuideEntry(OneItemSettings, OneItem)
