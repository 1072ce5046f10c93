"""An answer as a pydantic model: replies are held to its fields, and equal values vote as one."""

from pydantic import BaseModel, Field

from ponder import open_engine, sample, solve, vote


class Place(BaseModel):
    city: str = Field(max_length=40)
    country: str = Field(max_length=40)
    capital: bool


result = solve(
    "In which city is the Eiffel Tower?",
    sample(4, temperature=0.5, max_tokens=96) | vote(),
    engine=open_engine("embedded"),
    answer=Place,
    seed=1,
)
print(result.parsed(Place))
for attempt in result.candidates:
    if attempt.answer is not None:
        print(attempt.answer)
