"""The facts about a run that the challenge asks for, from its configuration."""

from echobank.evaluation.package import SystemFacts
from echobank.pipeline.run import Run

_ABBREVIATION = "echobank"


def system_facts(run: Run) -> SystemFacts:
    """Return what the meta file of the challenge says about the system; authors are left to the submitter."""
    config, facts = run.config, run.encoder.facts
    pretrained = bool(facts.weights_sha256)
    augmentation = None
    if config.augmentation.enabled:
        augmentation = f"noise mixing at {list(config.augmentation.snr)} dB, pitch shift by "
        augmentation += f"{list(config.augmentation.pitch_shift)} semitones"
    members = config.scoring.params.get("members")
    return SystemFacts(
        name="echobank: nearest neighbours in a memory bank of embeddings",
        abbreviation=_ABBREVIATION,
        input_sampling_rate=facts.sample_rate,
        data_augmentation=augmentation,
        front_end="log-mel energies" if facts.front_end else "raw waveform",
        acoustic_features="log-mel energies" if facts.front_end else "raw waveform",
        embeddings=facts.name if pretrained else None,
        machine_learning_method=f"{config.scoring.backend} ({config.scoring.metric}, k = {config.model.k})",
        aggregation_method=f"{config.model.pooling} of tokens{' a frequency band' if config.model.bands else ''}",
        domain_generalization_method=f"one bank of {config.train.domain} clips",
        ensemble_method_subsystem_count=len(str(members).split("+")) if members else None,
        decision_making=f"{config.decision.method}, false-alarm rate {config.decision.false_alarm_rate}",
        external_data_usage="pre-trained model" if pretrained else None,
        development_data_usage="none",
    )
