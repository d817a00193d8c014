"""The work: write a table, read it, fit a model, draw a chart."""
import csv
import hashlib
import io
import os
import random

import matplotlib.pyplot as plt
import pandas
import scipy.stats
import sklearn.linear_model
import sklearn.model_selection

TOWNS = "Aalen Basel Celje Delft Espoo Faro Ghent Husum Imola Jena".split()


def write_table(path, seed):
    """Measurements of an imagined network of stations, in a number and order that depend on the seed."""
    random_ = random.Random(seed)
    rows = 4000 + 500 * (seed % 5)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["town", "day", "height", "wind", "temperature"])
        for number in range(rows):
            town = random_.randrange(len(TOWNS))
            day, height, wind = random_.randrange(365), 20 * town + random_.random() * 50, random_.expovariate(0.2)
            temperature = 15 - 0.0065 * height - 0.3 * wind - 10 * abs(day - 182) / 182 + random_.gauss(0, 1)
            writer.writerow([TOWNS[town], day, "%.2f" % height, "%.3f" % wind, "%.3f" % temperature])


def work(directory, number):
    """All of it for worker `number`. The kind of model, statistic and chart depends on the number, too.

    Returns what was found as text and the digest of the picture: the same for the same number, whoever computes.
    """
    path = os.path.join(directory, "stations-%d.csv" % number)
    write_table(path, number)
    frame = pandas.read_csv(path)
    frame["season"] = pandas.cut(frame["day"], 4, labels=["winter", "spring", "summer", "autumn"])
    by_town = frame.groupby("town")["temperature"].agg(["mean", "std", "count"]).sort_values("mean")
    pivot = frame.pivot_table(index="town", columns="season", values="temperature", aggfunc="mean", observed=False)

    columns = [["height", "wind"], ["height", "wind", "day"], ["wind", "day"], ["height", "day"]][number % 4]
    model = [
        sklearn.linear_model.LinearRegression(),
        sklearn.linear_model.Ridge(alpha=0.5),
        sklearn.linear_model.Lasso(alpha=0.01),
        sklearn.linear_model.BayesianRidge(),
    ][number % 4]
    known, unknown = sklearn.model_selection.train_test_split(frame, random_state=number)
    model.fit(known[columns], known["temperature"])
    score = model.score(unknown[columns], unknown["temperature"])
    residuals = unknown["temperature"] - model.predict(unknown[columns])
    test = [scipy.stats.shapiro, scipy.stats.jarque_bera, scipy.stats.normaltest, scipy.stats.skewtest][number % 4]
    statistic = test(residuals[:2000]).statistic

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4))
    if number % 2:
        left.scatter(frame["height"], frame["temperature"], s=2)
        right.hist(residuals, bins=40)
    else:
        pivot.plot.bar(ax=left)
        left.set_xlabel("town")
        right.boxplot([group["temperature"].to_numpy() for _, group in frame.groupby("town")])
    figure.suptitle("Stations, sample %d" % number)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    plt.close(figure)

    found = "%s %.12g %.12g %s" % (by_town.index[0], score, statistic, [round(float(c), 10) for c in model.coef_])
    return {"found": found, "picture": hashlib.sha256(picture.getvalue()).hexdigest()}
