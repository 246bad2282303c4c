"""All sections of params.yaml, in its order."""

from prorl.config.decoding import Decoding
from prorl.config.embed import Embed
from prorl.config.evaluate import Evaluate
from prorl.config.fetch import Fetch
from prorl.config.finetune import Finetune
from prorl.config.gate import Gate
from prorl.config.guardrails import Guardrails
from prorl.config.guide import Guide
from prorl.config.language_model import LanguageModel
from prorl.config.logging import Logging
from prorl.config.mine import Mine
from prorl.config.policy import Policy
from prorl.config.prepare import Prepare
from prorl.config.pretrain import Pretrain
from prorl.config.profiles import Profiles
from prorl.config.quantize import Quantize
from prorl.config.reduce import Reduce
from prorl.config.release import Release
from prorl.config.report import Report
from prorl.config.section import Section
from prorl.config.selection import Selection
from prorl.config.similarity import Similarity
from prorl.config.simulator import Simulator
from prorl.config.validate import Validate

SECTIONS: dict[str, type[Section]] = {
    kind.section: kind
    for kind in (
        *(Decoding, Logging, Fetch, Prepare, Similarity, LanguageModel, Mine),
        *(Profiles, Embed, Reduce, Quantize),
        *(Simulator, Validate, Policy, Pretrain, Finetune, Guide, Guardrails),
        *(Selection, Evaluate, Gate, Release, Report),
    )
}
