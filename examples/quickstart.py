"""Self-consistency on the scripted engine: no model, no network, a fraction of a second."""

from ponder import Budget, ScriptedEngine, agreement, best, judge, sample, solve, vote, when

strategy = sample(16) | judge("likelihood") | when(agreement() < 0.6, then=best(), otherwise=vote())
result = solve(
    "Ann has 17 apples and buys 25 more. How many apples does she have?",
    strategy,
    engine=ScriptedEngine(),
    budget=Budget(tokens=20_000),
    seed=1,
)
print(result.answer, result.confidence, result.status.value, result.usage.tokens)
