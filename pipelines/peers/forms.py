"""Three forms of the prototype readout, trained by the loop of ``DDCLClassifier`` on the same rows.

- *token form*: the column tokens are quantised, the summary is the mean of their mixtures: ``DDCLClassifier`` itself.
- *row form*: one class token a row is quantised, and the columns are read off its mixture.
- *two levels*: the column tokens are quantised, then the mean of their mixtures by prototypes of kinds of rows, which
  decide (the hierarchical compressor: columns, then the row).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ddcl_tab import DDCLClassifier
from ddcl_tab.estimators._prototypes import default_prototypes
from ddcl_tab.nn import Assignment, DDCLReadout, assign, critical_temperature, quantization_loss
from ddcl_tab.nn._network import Output, TableNetwork
from ddcl_tab.nn._quantization import precise
from ddcl_tab.training._net import START_SPREAD, train_network
from ddcl_tab.training._objective import MIN_TEMPERATURE, Exchange, Loss, Objective, TokenCovariance
from ddcl_tab.training._rows import Batch, RowsDataset
from peers.class_token import RowNetwork
from peers.networks import CPU
from peers.readouts import N_PROTOTYPES, ReadoutPeer, shared_settings

#: Adam moves a parameter by its rate whatever its size: held as this many times smaller, prototypes of rows move as
#: fast as those of tokens, which have a rate of their own in the training loop.
HELD = DDCLClassifier().lr_ratio


class TwoLevelReading(NamedTuple):
    """As :class:`ddcl_tab.nn.Reading`, with what the second level reads and says.

    Attributes
    ----------
    summary : Tensor, shape (B, D)
        Mixture of the kinds of rows.
    z : Tensor, shape (B, T, D); assignment : Assignment
        Of the first level.
    row : Tensor, shape (B, D)
        Mean of the mixtures of the first level: what the second quantises.
    kinds : Tensor, shape (L, D)
        Prototypes of rows.
    temperature, temperature_of_tokens : Tensor, scalar
        Of the second level, and of the first.
    """

    summary: Tensor
    z: Tensor
    assignment: Assignment
    row: Tensor
    kinds: Tensor
    temperature: Tensor
    temperature_of_tokens: Tensor


class TwoLevelReadout(DDCLReadout):
    """Prototypes of column tokens, and prototypes of kinds of rows on the mean of their mixtures.

    The second level has the *relative* temperature of the first at every step: ``T_2 = T T_c2 / T_c``, with both
    critical temperatures tracked while training. It starts, as the first does, with all kinds near the mean row, and
    splits as the temperature falls. Its dead prototypes get no other start: the training loop knows one set of
    prototypes, the first.

    Parameters
    ----------
    n_prototypes, n_kinds, d_token : int
        ``K``, ``L``, ``D``.
    """

    def __init__(self, n_prototypes: int, n_kinds: int, d_token: int) -> None:
        super().__init__(n_prototypes, d_token)
        self.held_kinds = nn.Parameter(torch.randn(n_kinds, d_token) * d_token**-0.5)
        self.kind_temperature: Tensor
        self.register_buffer("kind_temperature", torch.ones((), dtype=precise(self.held_kinds.dtype)))
        self._moments: tuple[TokenCovariance, TokenCovariance] | None = None

    @property
    def kinds(self) -> Tensor:
        """Prototypes of rows, shape (L, D)."""
        return HELD * self.held_kinds

    def forward(self, tokens: Tensor) -> TwoLevelReading:
        """Read ``(B, T, D)``."""
        row, z, assignment = super().forward(tokens)
        if self.training:
            self._follow(z.detach(), row.detach().unsqueeze(1))
        temperature = self.kind_temperature.clone()
        mixture = assign(row, self.kinds, temperature).zhat
        summary = mixture.to(row.dtype)
        return TwoLevelReading(summary, z, assignment, row, self.kinds, temperature, self.temperature.clone())

    @torch.no_grad()
    def _follow(self, z: Tensor, row: Tensor) -> None:
        """Take in the tokens ``(B, T, D)`` and rows ``(B, 1, D)`` of a step; set the temperature."""
        weight = z.new_ones(len(z))
        if self._moments is None:
            self._moments = TokenCovariance(z, weight), TokenCovariance(row, weight)
            self._place(row[:, 0], self._moments[1])
        for moments, seen in zip(self._moments, (z, row), strict=True):
            moments.update(seen, weight)
        of_tokens, of_rows = (critical_temperature(moments.covariance) for moments in self._moments)
        wanted = self.temperature * of_rows / of_tokens.clamp_min(MIN_TEMPERATURE)
        self.kind_temperature.copy_(wanted.clamp_min(MIN_TEMPERATURE))

    def _place(self, row: Tensor, moments: TokenCovariance) -> None:
        some = row[torch.arange(len(self.held_kinds)) % len(row)]
        spread = moments.covariance.trace().sqrt() / row.shape[1] ** 0.5
        jitter = self.held_kinds * row.shape[1] ** 0.5  # the random start: separates kinds that start from one row
        self.held_kinds.copy_((moments.mean + START_SPREAD * (some - moments.mean + 0.1 * spread * jitter)) / HELD)


class TwoLevelNetwork(TableNetwork):
    """Our network, decided by the second level: what its columns add to the first is no part of that decision."""

    def say(self, zhat: Tensor, reading: Any) -> Output:
        """As that of our network, with the logits of the mixture of kinds."""
        return super().say(zhat, reading)._replace(logits=self.head(reading.summary))


class TwoLevelObjective(Objective):
    """Our objective, with the quantisation loss of the second level at the weight of the first.

    As there, it pulls prototypes to what they quantise and not the other way. Rows, means of tokens, spread far less
    than tokens, and a loss is a squared distance: each counts in units of its own temperature, without which kinds
    never part.
    """

    def forward(
        self,
        output: Output,
        batch: Batch,
        held: Assignment,
        exchanged: Exchange | None = None,
    ) -> Loss:
        """Loss of both levels."""
        loss = super().forward(output, batch, held, exchanged)
        reading: Any = output.reading
        of_rows = quantization_loss(assign(reading.row.detach(), reading.kinds, reading.temperature), batch.weight)
        weight = self.quantization_weight * reading.temperature_of_tokens / reading.temperature
        return loss._replace(total=loss.total + weight * of_rows)


class Form(NamedTuple):
    """What differs between the forms.

    Attributes
    ----------
    network : type
    readout : callable
        Number of columns and token width to a readout.
    objective : type
    """

    network: type[TableNetwork]
    readout: Callable[[int, int], DDCLReadout]
    objective: type[Objective]


TOKENS, ROWS, TWO_LEVELS = "token form", "row form", "two levels"
FORMS = {
    TOKENS: Form(TableNetwork, lambda n_columns, d: DDCLReadout(default_prototypes(n_columns), d), Objective),
    ROWS: Form(RowNetwork, lambda n_columns, d: DDCLReadout(N_PROTOTYPES, d), Objective),
    TWO_LEVELS: Form(
        TwoLevelNetwork,
        lambda n_columns, d: TwoLevelReadout(default_prototypes(n_columns), N_PROTOTYPES, d),
        TwoLevelObjective,
    ),
}
#: Parameters of ``DDCLClassifier`` that only prototypes have.
OF_PROTOTYPES = ("temperature", "quantization_weight", "column_weight", "contribution_weight")


class FormPeer(ReadoutPeer):
    """A form of the readout behind the interface of the benchmark.

    Parameters
    ----------
    form : str
        Of :data:`FORMS`.
    seed : int
    **settings
        Those of the other peers and :data:`OF_PROTOTYPES`; default: those of ``DDCLClassifier``.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    network_ : TableNetwork
    encoder_ : TableEncoder
    n_iter_ : int
    """

    def __init__(self, form: str, seed: int, **settings: Any) -> None:
        super().__init__(form, seed)
        ours = DDCLClassifier().get_params()
        self.settings = shared_settings() | {name: ours[name] for name in OF_PROTOTYPES} | settings

    def _make(self, **sizes: Any) -> TableNetwork:
        form = FORMS[self.readout]
        return form.network(form.readout(len(self.encoder_.feature_names_), self.settings["d_token"]), **sizes)

    def _train(self, train: RowsDataset, validation: RowsDataset | None, seed: int) -> None:
        s = self.settings
        weights = {name: s[name] for name in ("quantization_weight", "column_weight")}
        # Only in the token form do contributions of columns add up to the decision.
        weights["contribution_weight"] = s["contribution_weight"] if self.readout == TOKENS else 0.0
        result = train_network(
            self.network_,
            FORMS[self.readout].objective(cardinalities=self.encoder_.cardinalities_, **weights),
            train,
            validation,
            final_temperature=s["temperature"],
            generator=torch.Generator().manual_seed(seed),
            device=CPU,
            certify=False,
            verbose=0,
            **{name: s[name] for name in ("lr", "lr_ratio", "batch_size", "max_epochs", "patience")},
        )
        self.n_iter_ = len(result.history)
